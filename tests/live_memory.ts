/**
 * What memory is in use, and not only waiting to be collected: after a full
 * collection, which either runtime can be told to make.
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
 * What two looks at the same program differ by at the most: live memory by code
 * that was compiled meanwhile, some three times of what was seen; that of the
 * process by what its allocator does not give back, so that only leaks outside
 * of the runtime's own account show there.
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
    // What a collection sets free may have something to say in the next turn.
    await new Promise((resolve) => setTimeout(resolve));
    collect();
  }
  const { heapUsed, external, rss } = process.memoryUsage();
  // Bun counts buffers as a part of the heap.
  return { live: isBun ? heapUsed : heapUsed + external, rss };
}

/**
 * Fails when more is in use than before, and tells for people what it is.
 * Between the two there must be nothing that lasts.
 */
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
