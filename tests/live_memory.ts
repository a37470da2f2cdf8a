/**
 * Measures the memory in use, after a full collection, which both runtimes can
 * be asked for.
 *
 * @module
 */

import { assert } from "@std/assert";
import process from "node:process";
import v8 from "node:v8";
import vm from "node:vm";

declare const Bun: { gc(force: boolean): void };

const isBun = "Bun" in globalThis;
const KiB = 1024;
const MiB = 1024 * KiB;

/**
 * The largest differences between two measurements of the same program. Live
 * memory differs by code that was compiled meanwhile; the limit is about three
 * times the observed difference. The memory of the process differs by memory
 * that the allocator does not give back, so only leaks outside the runtime's
 * own account show there.
 */
const NOISE = { live: (isBun ? 2 : 1) * MiB, rss: 256 * MiB };

/** Memory in use, in bytes. */
export interface MemoryInUse {
  /** Objects, and buffers outside of the heap. */
  readonly live: number;
  /** Pages of the process. */
  readonly rss: number;
}

const collect: () => void = isBun ? () => Bun.gc(true) : exposedCollector();

function exposedCollector(): () => void {
  v8.setFlagsFromString("--expose-gc");
  return vm.runInNewContext("gc");
}

/** Collects all that is not in use any more, and tells the rest. */
export async function settledMemory(): Promise<MemoryInUse> {
  for (let turn = 0; turn < 4; turn++) {
    // Finalizers of collected objects may run in the next turn.
    await new Promise((resolve) => setTimeout(resolve));
    collect();
  }
  const { heapUsed, external, rss } = process.memoryUsage();
  // Bun counts buffers as a part of the heap.
  return { live: isBun ? heapUsed : heapUsed + external, rss };
}

/** Fails when more memory is in use than before, and prints the difference. */
export function assertSteady(before: MemoryInUse, after: MemoryInUse): string {
  const live = after.live - before.live;
  const rss = after.rss - before.rss;
  const text = `${kib(live)} KiB more in use, ${kib(rss)} KiB more resident`;
  assert(live < NOISE.live && rss < NOISE.rss, `memory grows: ${text}`);
  return text;
}

function kib(bytes: number): number {
  return Math.round(bytes / KiB);
}
