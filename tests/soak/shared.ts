/**
 * The files that all users of the soak test share: the operations of each user,
 * and the conditions that must always hold.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { DMAPPEND, DMEXCL, NinePError } from "../../codec.ts";
import type { MemoryFs } from "../../fs/mod.ts";
import {
  changed,
  HOME_MODE,
  moved,
  namesIn,
  plan,
  type Run,
  type State,
  type Step,
  type User,
} from "./model.ts";
import type { Random } from "../codec/vectors.ts";

/** Members of shared/dir that always exist. */
const KEPT = Array.from({ length: 30 }, (_, at) => `keep${at}`);
/** Lengths of the records, each of which fits into one message. */
const RECORDS = [64, 200, 400];
/** A path that takes several walks. */
const DEEP = ["deep", ...Array.from({ length: 40 }, (_, at) => `d${at}`)];
/** A longer log is checked and started again. */
export const LOG_MAX: number = 64 * 1024;

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** A mark of who wrote it, which shows every loss or mixture: `u17 42 ccc`, of a given length. */
export function mark(who: string, seq: number, length: number): string {
  const letter = String.fromCharCode(97 + seq % 26);
  return `${who} ${seq} `.padEnd(length, letter);
}

/** Who wrote a mark, which must be whole. */
function readMark(text: string, length: number): { who: string; seq: number } {
  const [, who = "", number = ""] = /^(u\d+) (\d+) /.exec(text) ?? [];
  assertEquals(text, mark(who, Number(number), length), "a mark is not whole");
  return { who, seq: Number(number) };
}

/**
 * What a place may hold where each write replaces the one before: never what
 * was there before a write that had been acknowledged.
 */
export class Register {
  #clock = 0;
  /** When the last acknowledged write of each writer was so. */
  readonly #acked = new Map<string, { seq: number; at: number }>();
  /** When the latest of the acknowledged writes began. */
  #latest = 0;

  /** Runs a write; the numbers of a writer grow. */
  async write(
    who: string,
    seq: number,
    write: () => Promise<unknown>,
  ): Promise<void> {
    const began = ++this.#clock;
    await write();
    this.#acked.set(who, { seq, at: ++this.#clock });
    this.#latest = Math.max(this.#latest, began);
  }

  /** Runs a read, which gives what is there; undefined when there is nothing yet. */
  async read(
    read: () => Promise<{ who: string; seq: number } | undefined>,
  ): Promise<void> {
    const began = ++this.#clock;
    const latest = this.#latest;
    const found = await read();
    if (found === undefined) {
      assertEquals(latest, 0, "nothing is there, but it was written");
      return;
    }
    const { who, seq } = found;
    const acked = this.#acked.get(who);
    if (acked === undefined || acked.seq < seq) return; // Not acknowledged then.
    const over = acked.seq > seq ? acked.at < began : acked.at < latest;
    assert(
      !over,
      `what ${who} wrote as ${seq} was written over before the read`,
    );
  }
}

/** Lines that are appended to a file: each acknowledged one is there once, whole. */
export class Log {
  /** Lines that were not seen yet, and whether they were acknowledged. */
  readonly #lines = new Map<string, boolean>();
  readonly #last = new Map<string, number>();

  /** Runs an append. */
  async append(
    who: string,
    seq: number,
    append: () => Promise<unknown>,
  ): Promise<void> {
    const line = `${who} ${seq}`;
    this.#lines.set(line, false);
    await append();
    if (this.#lines.has(line)) this.#lines.set(line, true);
  }

  /** Checks the lines that were appended since the last check. */
  check(text: string): void {
    assert(text === "" || text.endsWith("\n"), "the last line is not whole");
    for (const line of text.split("\n").slice(0, -1)) {
      const { who, seq } = readMark(line, line.length);
      assertEquals(line.length, lineLength(seq), `a line is cut: ${line}`);
      assert(this.#lines.delete(`${who} ${seq}`), `unknown or twice: ${line}`);
      assert((this.#last.get(who) ?? 0) < seq, `out of order: ${line}`);
      this.#last.set(who, seq);
    }
    const lost = [...this.#lines].filter(([, isAcked]) => isAcked);
    assertEquals(lost, [], "lines were acknowledged and lost");
  }
}

/** Length of the line of a number. */
export function lineLength(seq: number): number {
  return 20 + seq * 7 % 300;
}

/** The files and functions that all users share. */
export class Shared {
  readonly #fs: MemoryFs;
  readonly #logs = [new Log(), new Log()];
  readonly #records = RECORDS.map((length) => ({
    length,
    register: new Register(),
  }));
  /** The user that has the file of exclusive use open. */
  #holder: User | undefined;
  #count = 0;
  #users = 0;
  /** Calls that have not ended. */
  calls = 0;

  /** Makes them. */
  constructor(fs: MemoryFs) {
    this.#fs = fs;
    fs.mkdir("shared/dir", { recursive: true, mode: 0o777 });
    for (const name of KEPT) fs.create(`shared/dir/${name}`);
    for (const at of this.#logs.keys()) {
      fs.create(`shared/log${at}`, { mode: 0o666 + DMAPPEND });
    }
    for (const at of RECORDS.keys()) {
      fs.create(`shared/record${at}`, { mode: 0o666 });
    }
    fs.create("shared/excl", { mode: 0o666 + DMEXCL });
    fs.mkdir(DEEP.join("/"), { recursive: true, mode: 0o755 });
    fs.mkdir("fn", { mode: 0o755 });
    fs.register("fn/now", ({ from }: { from: string }) => from);
    fs.register("fn/later", async ({ from }: { from: string }) => {
      for (let turns = from.length % 3; turns >= 0; turns--) {
        await new Promise((resolve) => setTimeout(resolve));
      }
      return from;
    });
    fs.register("fn/wait", ({ signal }) => {
      this.calls++;
      return new Promise((_, reject) => {
        signal.addEventListener("abort", () => {
          this.calls--;
          reject(signal.reason);
        }, { once: true });
      });
    }, { context: true });
  }

  /** Makes the directory of a user. */
  addUser(name: string): void {
    const own = this.#fs.find("own") ?? this.#fs.mkdir("own", { mode: 0o755 });
    assert(own.isDirectory);
    this.#users++;
    this.#fs.mkdir(`own/${name}`, { uid: name, mode: HOME_MODE });
  }

  /** Checks what can be checked when all have gone. */
  async check(): Promise<void> {
    for (const [at, log] of this.#logs.entries()) {
      log.check(this.#fs.readTextFile(`shared/log${at}`));
    }
    for (const [at, { length, register }] of this.#records.entries()) {
      const text = this.#fs.readTextFile(`shared/record${at}`);
      const last = text === "" ? undefined : readMark(text, length);
      await register.read(() => Promise.resolve(last));
    }
    const names = this.#fs.readDir("shared/dir").map(({ name }) => name);
    assertEquals(names.slice(0, KEPT.length), KEPT);
    assertEquals(this.calls, 0, "calls that have not ended");
  }

  /** Adds a line to a log; the offset means nothing there. */
  append(state: State, who: string, random: Random): Step {
    const at = random.below(this.#logs.length);
    const offset = random.below(1000);
    const path = `shared/log${at}`;
    const log = this.#logs[at];
    const run: Run = async ({ client }, signal) => {
      await using file = await client.open(path, { write: true, signal });
      const seq = ++this.#count;
      const line = mark(who, seq, lineLength(seq)) + "\n";
      await log.append(
        who,
        seq,
        () => file.writeAt(encoder.encode(line), offset, { signal }),
      );
      if (this.#fs.stat(path).length < LOG_MAX) return;
      log.check(this.#fs.readTextFile(path));
      this.#fs.truncate(path);
    };
    return plan(`append to ${path}`, state, [], run);
  }

  /** Replaces a record by one of the same length. */
  writeRecord(state: State, who: string, random: Random): Step {
    const at = random.below(RECORDS.length);
    const path = `shared/record${at}`;
    const { length, register } = this.#records[at];
    const run: Run = async ({ client }, signal) => {
      await using file = await client.open(path, { write: true, signal });
      const seq = ++this.#count;
      const data = encoder.encode(mark(who, seq, length));
      await register.write(who, seq, () => file.writeAt(data, 0, { signal }));
    };
    return plan(`write ${path}`, state, [], run);
  }

  /** Reads a record, which is one writer's, whole. */
  readRecord(state: State, random: Random): Step {
    const at = random.below(RECORDS.length);
    const path = `shared/record${at}`;
    const { length, register } = this.#records[at];
    const run: Run = async ({ client }, signal) => {
      await using file = await client.open(path, { signal });
      await register.read(async () => {
        const data = await client.protocol.read(file.fid, { signal });
        return data.length === 0
          ? undefined
          : readMark(decoder.decode(data), length);
      });
    };
    return plan(`read ${path}`, state, [], run);
  }

  /** Uses the file that only one fid at a time may have open. */
  exclusive(state: State, who: string): Step {
    const path = "shared/excl";
    const run: Run = async (user, signal) => {
      const { client } = user;
      const how = { read: true, write: true, signal };
      const file = await client.open(path, how).catch((error) => {
        if (error instanceof NinePError && error.code === "EAGAIN") return;
        throw error;
      });
      if (file === undefined) return;
      try {
        const holder = this.#holder;
        assert(holder === undefined || holder.gone, "two have it open");
        this.#holder = user;
        const data = encoder.encode(who.padEnd(8));
        await file.writeAt(data, 0, { signal });
        const read = await client.protocol.read(file.fid, { signal });
        assertEquals(decoder.decode(read), who.padEnd(8));
      } finally {
        if (this.#holder === user) this.#holder = undefined;
        await file.close();
      }
    };
    return plan(`use ${path}`, state, [], run);
  }

  /** Makes, renames or removes a member of the directory that all others list. */
  member(state: State, who: string, random: Random): Step {
    const mine = [...state.keys()].filter((path) => path.startsWith("shared/"));
    const path = `shared/dir/${who}.${++this.#count}`;
    const old = mine.length > 0 ? random.pick(mine) : path;
    if (old !== path && random.below(2)) {
      const run: Run = ({ client }, signal) =>
        client.rename(old, path, { signal });
      const next = () => [moved(state, old, path)];
      return plan(`rename ${old} to ${path}`, state, [], run, next);
    }
    if (mine.length > 2) {
      const run: Run = ({ client }, signal) => client.remove(old, { signal });
      return plan(`remove ${old}`, state, [], run, () => [changed(state, old)]);
    }
    const run: Run = async ({ client }, signal) => {
      await using _file = await client.create(path, { signal });
    };
    const next = () => [changed(state, path, { mode: 0o666, text: "" })];
    return plan(`create ${path}`, state, [], run, next);
  }

  /** Lists the directory in which everyone makes, renames and removes files. */
  list(state: State, who: string): Step {
    const dir = "shared/dir";
    const mine = [...state.keys()].filter((path) => path.startsWith(dir));
    const run: Run = async ({ client }, signal) => {
      const names = await namesIn(client, dir, signal);
      assertEquals(new Set(names).size, names.length, "a member comes twice");
      const kept = names.filter((name) => name.startsWith("keep"));
      assertEquals(kept, KEPT);
      const own = names.filter((name) => name.startsWith(`${who}.`));
      assertEquals(own.map((name) => `${dir}/${name}`).sort(), mine.sort());
      const others = names.filter((name) => !/^(keep|u\d+\.)\d+$/.test(name));
      assertEquals(others, []);
    };
    return plan(`list ${dir}`, state, [], run);
  }

  /** Lists a user's directory, which only that user may. */
  trespass(state: State, who: string, random: Random): Step {
    const path = `own/u${random.below(this.#users)}`;
    const codes = path === `own/${who}` ? [] : ["EACCES"];
    const run: Run = async ({ client }, signal) => {
      await namesIn(client, path, signal);
    };
    return plan(`list ${path}`, state, codes, run);
  }

  /** Walks a path of many names. */
  walk(state: State, random: Random): Step {
    const names = DEEP.slice(0, 1 + random.below(DEEP.length));
    const run: Run = async ({ client }, signal) => {
      const stat = await client.stat(names, { signal });
      assertEquals(stat.name, names.at(-1));
    };
    return plan(`walk ${names.length} deep`, state, [], run);
  }

  /** A call, at once or later, by Tcall or by writing and reading. */
  call(state: State, who: string, random: Random): Step {
    const path = `fn/${random.pick(["now", "later"])}`;
    const from = mark(who, ++this.#count, 20 + random.below(100));
    const byTcall: Run = async ({ client }, signal) => {
      const value = await client.call(path, { kwarg: { from }, signal });
      assertEquals(value, from);
    };
    const byFile: Run = async ({ client }, signal) => {
      const how = { read: true, write: true, signal };
      await using file = await client.open(path, how);
      const data = encoder.encode(JSON.stringify({ from }));
      await file.writeAt(data, 0, { signal });
      const value = await client.protocol.read(file.fid, { signal });
      assertEquals(decoder.decode(value), JSON.stringify(from));
    };
    const run = random.below(2) ? byTcall : byFile;
    return plan(`call ${path}`, state, [], run);
  }

  /**
   * Makes a call that ends only when it is aborted, and that delays no other
   * request.
   */
  giveUpCall(state: State): Step {
    const run: Run = async ({ client }, signal) => {
      const abort = new AbortController();
      const reason = new Error("enough");
      const call = client.call("fn/wait", {
        signal: AbortSignal.any([signal, abort.signal]),
      }).then(() => new Error("a call that never ends has ended"), (e) => e);
      const [stat] = await Promise.allSettled([client.stat("", { signal })]);
      abort.abort(reason);
      const error = await call;
      if (stat.status === "rejected") throw stat.reason;
      if (error !== reason) throw error;
    };
    return plan("give up a call", state, [], run);
  }
}
