/**
 * Kinds of work for the soak test: requests that wait, connections that are
 * reset, appends of several clients, functions that are replaced, and deep
 * trees.
 *
 * @module
 */

import { assert } from "@std/assert";
import type { Client } from "../../client.ts";
import { NinePError } from "../../codec.ts";
import { FunctionNode, type MemoryFs } from "../../fs/mod.ts";
import { plan, type Run, type State, type Step } from "./model.ts";
import { lineLength, Log, LOG_MAX, mark } from "./shared.ts";
import type { Random } from "../codec/vectors.ts";

/**
 * Numbers of requests that wait at once. Some exceed the number that a server
 * runs at a time.
 */
const WAITING = [3, 3, 10, 10, 100, 100, 300, 1100];
/** Functions that are replaced. */
const FUNCTIONS = 4;
/** Levels of the deep tree: too many for recursion. */
const LEVELS = 15_000;
/** Levels of the deep tree that a client makes and removes. */
const CLIENT_LEVELS = 100;
/** Turns of the event loop between a client's steps and the next deep tree. */
const PAUSE_MS = 50;

/** Files for these kinds, and the operations on them. */
export class Kinds {
  /** Reads of the event file that have not ended. */
  reads = 0;
  readonly #fs: MemoryFs;
  readonly #log = new Log();
  /** Numbers of the functions that are registered at present. */
  readonly #versions: number[] = Array(FUNCTIONS).fill(0);
  #count = 0;

  /** Makes the files; `shared` and `fn` are there. */
  constructor(fs: MemoryFs) {
    this.#fs = fs;
    fs.create("shared/text", { mode: 0o666 }); // Not DMAPPEND.
    fs.define("fn/event", {
      read: (_request, { signal }) => {
        this.reads++;
        return new Promise((_, reject) => {
          signal.addEventListener("abort", () => {
            this.reads--;
            reject(signal.reason);
          }, { once: true });
        });
      },
    });
    for (let at = 0; at < FUNCTIONS; at++) this.#register(at);
  }

  #register(at: number): void {
    const version = this.#versions[at];
    this.#fs.register(`fn/new${at}`, () => version);
  }

  /** Removes a function and registers another one at its path, in one turn. */
  #replace(at: number): void {
    assert(this.#fs.find(`fn/new${at}`) instanceof FunctionNode);
    this.#fs.remove(`fn/new${at}`);
    this.#versions[at] = ++this.#count;
    this.#register(at);
  }

  /** Checks the files after all clients have ended. */
  check(): void {
    this.#log.check(this.#fs.readTextFile("shared/text"));
    assert(this.reads === 0, `${this.reads} reads have not ended`);
  }

  /**
   * Lets many requests wait for an event; a read beside them is answered at
   * once.
   */
  wait(state: State, random: Random): Step {
    const count = random.pick(WAITING);
    const run: Run = async ({ client }, signal) => {
      await using file = await client.open("fn/event", { signal });
      const abort = new AbortController();
      const reason = new Error("enough");
      const options = { signal: AbortSignal.any([signal, abort.signal]) };
      const waiting = Array.from({ length: count }, (_, at) => {
        const request = at % 8 === 0
          ? client.call("fn/wait", options)
          : client.protocol.read(file.fid, { ...options, count: 100 });
        const ended = () => new Error("a request that waits has ended");
        return request.then(ended, (error: unknown) => error);
      });
      const beside = await Promise.allSettled([
        client.stat("", { signal }),
        client.readTextFile("shared/record0", { signal }),
      ]);
      abort.abort(reason);
      const errors = await Promise.all(waiting);
      for (const one of beside) {
        if (one.status === "rejected") throw one.reason;
      }
      const wrong = errors.filter((error) => error !== reason);
      if (wrong.length > 0) throw wrong[0];
    };
    return plan(`wait ${count} times`, state, [], run);
  }

  /** Appends lines to a plain file while others append as well. */
  append(state: State, who: string, random: Random): Step {
    const path = "shared/text";
    const count = 1 + random.below(5);
    const isOpened = random.below(2) === 1;
    const appendAll = async (append: (line: string) => Promise<unknown>) => {
      const ends = await Promise.allSettled(
        Array.from({ length: count }, (_, lane) => {
          const seq = ++this.#count;
          // Appends by one open file are in order. Those that open the file
          // themselves, at the same time, are so for each of them.
          const writer = isOpened ? who : `${who}${lane}000`;
          const line = `${mark(writer, seq, lineLength(seq))}\n`;
          return this.#log.append(writer, seq, () => append(line));
        }),
      );
      for (const end of ends) {
        if (end.status === "rejected") throw end.reason;
      }
    };
    const run: Run = async ({ client }, signal) => {
      const options = { append: true, create: false, signal };
      if (isOpened) {
        await using file = await client.open(path, options);
        await appendAll((line) => file.writeAll(line, { signal }));
      } else {
        await appendAll((line) => client.writeTextFile(path, line, options));
      }
      if (this.#fs.stat(path).length < LOG_MAX) return;
      this.#log.check(this.#fs.readTextFile(path));
      this.#fs.truncate(path);
    };
    return plan(`append ${count} lines to ${path}`, state, [], run);
  }

  /**
   * Calls a function by its path and twice by one fid, and replaces it
   * meanwhile. Each call returns a value of a function that existed after the
   * call began, or fails because the function was removed.
   */
  callReplaced(state: State, random: Random): Step {
    const at = random.below(FUNCTIONS);
    const replaces = random.below(2) === 1;
    const path = `fn/new${at}`;
    const run: Run = async ({ client }, signal) => {
      const call = async (file: string | number) => {
        const began = this.#versions[at];
        let value;
        try {
          value = await client.call(file, { signal });
        } catch (error) {
          if (isRemoved(error)) return;
          throw error;
        }
        assert(
          Number(value) >= began,
          `${path}: ${value}, replaced by ${began}`,
        );
      };
      await call(path);
      const fid = await client.protocol.walk(path, { signal });
      try {
        await call(fid);
        if (replaces) this.#replace(at);
        await call(fid);
      } finally {
        await client.protocol.clunk(fid);
      }
      await call(path);
    };
    return plan(`call ${path}`, state, [], run);
  }
}

/** Tells whether an error says that the function is not there any more. */
function isRemoved(error: unknown): boolean {
  return error instanceof NinePError &&
    (error.code === "ENOENT" || error.message.includes("has been removed"));
}

/** Makes deep trees, by the program that serves them and by a client, and removes them. */
export async function dig(
  fs: MemoryFs,
  client: Client,
  goesOn: () => boolean,
): Promise<void> {
  fs.mkdir("pit", { mode: 0o777 });
  while (goesOn()) {
    fs.mkdir("pit/" + "d/".repeat(LEVELS), { recursive: true });
    fs.remove("pit/d", { recursive: true });
    assert(fs.find("pit/d") === undefined, "the deep tree is still there");
    const path = ["pit", ...Array<string>(CLIENT_LEVELS).fill("e")];
    await client.mkdir(path, { recursive: true });
    await client.remove(["pit", "e"], { recursive: true });
    assert(fs.find("pit/e") === undefined, "the client's tree is still there");
    await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
  }
  fs.remove("pit");
}
