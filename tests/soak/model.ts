/**
 * The model of the soak test: the files of one user, the operations on them
 * with all possible outcomes, and the rules for files that all users share.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import type { Client } from "../../client.ts";
import { NinePError, ORCLOSE, ORDWR, OWRITE, QTDIR } from "../../codec.ts";
import type { MemoryFs } from "../../fs/mod.ts";
import type { Kinds } from "./kinds.ts";
import type { Shared } from "./shared.ts";
import type { Random } from "../codec/vectors.ts";

/** The expected state of a file, or of a directory, which has no text. */
export interface Entry {
  readonly mode: number;
  readonly text?: string;
}

/** The files of one user, by path. */
export type State = ReadonlyMap<string, Entry>;

/** A user of the tree. */
export interface User {
  readonly name: string;
  readonly client: Client;
  /** True when the connection of the user was cut. */
  readonly gone: boolean;
}

/** An operation and its possible results. */
export interface Step {
  readonly name: string;
  /**
   * The states that the operation goes through, the current state first. After
   * success the last state holds, after an error the first. An operation that
   * is cut or aborted may end in any of the states.
   */
  readonly states: readonly State[];
  /**
   * Codes of the errors with which the operation must fail. Without codes it
   * must succeed.
   */
  readonly codes?: readonly string[];
  /**
   * True when the end of the fid changes the state, which may happen after an
   * abort.
   */
  readonly late?: boolean;
  readonly run: Run;
}

/** Runs an operation for a user. */
export type Run = (user: User, signal: AbortSignal) => Promise<void>;

const FILES = ["a", "b", "c", "x/a", "x/b", "y/a", "y/b"];
const DIRS = ["x", "y"];
const MODES = [0o666, 0o600, 0o644, 0o755, 0o400, 0o200, 0o060, 0o000];

/** Permissions of a user's own directory. */
export const HOME_MODE = 0o750;

const READ = 4;
const WRITE = 2;

const encoder = new TextEncoder();

/** Returns the state with one entry changed or removed. */
export function changed(state: State, path: string, entry?: Entry): State {
  const next = new Map(state);
  if (entry === undefined) next.delete(path);
  else next.set(path, entry);
  return next;
}

/** The state with a file or directory, and all that is in it, at another path. */
export function moved(state: State, from: string, to: string): State {
  return new Map(Array.from(state, ([path, entry]) => [
    path === from || path.startsWith(`${from}/`)
      ? to + path.slice(from.length)
      : path,
    entry,
  ]));
}

function parentOf(path: string): string {
  return path.slice(0, path.lastIndexOf("/"));
}

function membersOf(state: State, dir: string): string[] {
  return [...state.keys()].filter((path) => parentOf(path) === dir)
    .map((path) => path.slice(dir.length + 1));
}

/** Tells whether the owner has a right: those of all three classes add up. */
function may(entry: Entry, access: number): boolean {
  return ((entry.mode | entry.mode >> 3 | entry.mode >> 6) & access) !== 0;
}

/** A file after a write at an offset; what is missing before it is zeros. */
function patched({ mode, text: old = "" }: Entry, text: string, at: number) {
  if (text === "") return { mode, text: old };
  const before = old.slice(0, at).padEnd(at, "\0");
  return { mode, text: before + text + old.slice(at + text.length) };
}

/** The state as it is in the tree: a user's directory, and what it has in shared/dir. */
export function observe(fs: MemoryFs, name: string): State {
  const state = new Map<string, Entry>();
  const look = (path: string) => {
    const { mode: bits, qid } = fs.stat(path);
    const mode = bits & 0o777;
    if ((qid.type & QTDIR) === 0) {
      state.set(path, { mode, text: fs.readTextFile(path) });
      return;
    }
    state.set(path, { mode });
    for (const member of fs.readDir(path)) look(`${path}/${member.name}`);
  };
  look(`own/${name}`);
  for (const member of fs.readDir("shared/dir")) {
    if (member.name.startsWith(`${name}.`)) look(`shared/dir/${member.name}`);
  }
  return state;
}

/** Returns true when two states are the same. */
export function same(one: State, other: State): boolean {
  if (one.size !== other.size) return false;
  for (const [path, { mode, text }] of one) {
    const entry = other.get(path);
    if (entry?.mode !== mode || entry.text !== text) return false;
  }
  return true;
}

/** A state for messages. */
export function show(state: State): string {
  return Array.from(
    state,
    ([path, { mode, text }]) =>
      `${path} ${mode.toString(8)} ${
        text === undefined
          ? "dir"
          : `${text.length} ${JSON.stringify(text.slice(0, 12))}`
      }`,
  ).sort().join(", ");
}

/** An operation: it fails with one of the codes, or goes through the states. */
export function plan(
  name: string,
  state: State,
  codes: string[],
  run: Run,
  next: () => State[] = () => [],
): Step {
  return codes.length > 0
    ? { name, states: [state], codes, run }
    : { name, states: [state, ...next()], run };
}

/** Codes of the errors of a creation. */
function cannotCreate(state: State, path: string): string[] {
  if (!state.has(parentOf(path))) return ["ENOENT"];
  return state.has(path) ? ["EEXIST"] : [];
}

/** Codes of the errors of an open. */
function cannotOpen(state: State, path: string, access: number): string[] {
  const entry = state.get(path);
  if (entry === undefined) return ["ENOENT"];
  return may(entry, access) ? [] : ["EACCES"];
}

/** A new file: its permissions are bounded by those of its directory. */
function newFile(state: State, path: string, perm: number): Entry {
  const dir = state.get(parentOf(path))?.mode ?? 0;
  return { mode: perm & (~0o666 | dir & 0o666), text: "" };
}

/**
 * Creates random operations of a user. All random choices are made when the
 * operation is created.
 */
export class Chance {
  /** Largest transfer of the current connection. */
  limit = 0;
  readonly #name: string;
  readonly #home: string;
  readonly #random: Random;
  readonly #shared: Shared;
  readonly #kinds: Kinds;
  #count = 0;

  constructor(name: string, random: Random, shared: Shared, kinds: Kinds) {
    this.#name = name;
    this.#home = `own/${name}`;
    this.#random = random;
    this.#shared = shared;
    this.#kinds = kinds;
  }

  /** An operation on a state. */
  step(state: State): Step {
    const random = this.#random;
    const path = `${this.#home}/${random.pick(FILES)}`;
    const dir = `${this.#home}/${random.pick(DIRS)}`;
    const name = this.#name;
    const shared = this.#shared;
    const kinds = this.#kinds;
    const makers = [
      () => this.#createNew(state, path),
      () => this.#writeFile(state, path),
      () => this.#writeFile(state, path),
      () => this.#append(state, path),
      () => this.#append(state, path),
      () => this.#patch(state, path),
      () => this.#patch(state, path),
      () => this.#wstat(state, path),
      () => this.#rename(state, path, this.#sibling(path)),
      () => this.#rename(state, dir, this.#dir()),
      () => this.#mkdir(state, dir),
      () => this.#remove(state, random.pick([path, dir])),
      () => this.#removeOnClose(state, path),
      () => this.#createRemoved(state, path),
      () => shared.member(state, name, random),
      () => shared.append(state, name, random),
      () => shared.writeRecord(state, name, random),
      () => shared.exclusive(state, name),
      () => shared.giveUpCall(state),
      () => kinds.wait(state, random),
      () => kinds.append(state, name, random),
      () => kinds.callReplaced(state, random),
      () => this.#burst(state),
      () => this.#burst(state),
      () => this.#burst(state),
      () => this.#burst(state),
    ];
    return random.pick(makers)();
  }

  #dir(): string {
    return `${this.#home}/${this.#random.pick(DIRS)}`;
  }

  #sibling(path: string): string {
    const names = FILES.filter((name) => !name.includes("/"));
    return `${parentOf(path)}/${this.#random.pick(names)}`;
  }

  #text(): string {
    const random = this.#random;
    const most = random.pick([0, 10, 100, 1000, 1000, 20_000]);
    const word = `${this.#name}-${++this.#count};`;
    return word.repeat(most / word.length + 1).slice(0, random.below(most + 1));
  }

  /** The states of a file while a text is written behind another one, piece by piece. */
  #growing(state: State, path: string, entry: Entry, text: string): State[] {
    const { mode, text: old = "" } = entry;
    const states: State[] = [];
    for (let end = this.limit; end < text.length; end += this.limit) {
      const part = old + text.slice(0, end);
      states.push(changed(state, path, { mode, text: part }));
    }
    return [...states, changed(state, path, { mode, text: old + text })];
  }

  #createNew(state: State, path: string): Step {
    const mode = this.#random.pick(MODES);
    const text = this.#text();
    const run: Run = ({ client }, signal) =>
      client.writeTextFile(path, text, { createNew: true, mode, signal });
    const codes = cannotCreate(state, path);
    return plan(`create ${path}`, state, codes, run, () => {
      const entry = newFile(state, path, mode);
      const empty = changed(state, path, entry);
      return [empty, ...this.#growing(state, path, entry, text)];
    });
  }

  #writeFile(state: State, path: string): Step {
    const text = this.#text();
    const run: Run = ({ client }, signal) =>
      client.writeTextFile(path, text, { signal });
    const codes = state.has(path)
      ? cannotOpen(state, path, WRITE)
      : cannotCreate(state, path);
    return plan(`write ${path}`, state, codes, run, () => {
      const { mode } = state.get(path) ?? newFile(state, path, 0o666);
      const entry = { mode, text: "" };
      const empty = changed(state, path, entry);
      return [empty, ...this.#growing(state, path, entry, text)];
    });
  }

  #append(state: State, path: string): Step {
    const text = this.#text();
    const run: Run = ({ client }, signal) =>
      client.writeTextFile(path, text, { append: true, create: false, signal });
    const codes = cannotOpen(state, path, WRITE);
    const next = () => this.#growing(state, path, fileIn(state, path), text);
    return plan(`append to ${path}`, state, codes, run, next);
  }

  /** One Twrite at an offset: all of it or nothing. */
  #patch(state: State, path: string): Step {
    const text = this.#text().slice(0, this.limit);
    const at = this.#random.below(3000);
    const run: Run = async ({ client }, signal) => {
      await using file = await client.open(path, { write: true, signal });
      const count = await file.writeAt(encoder.encode(text), at, { signal });
      assertEquals(count, text.length);
    };
    const codes = cannotOpen(state, path, WRITE);
    const name = `write ${text.length} bytes into ${path} at ${at}`;
    const next = () => {
      const file = patched(fileIn(state, path), text, at);
      return [changed(state, path, file)];
    };
    return plan(name, state, codes, run, next);
  }

  /** Any of mode, length and name, in one request: all or nothing. */
  #wstat(state: State, path: string): Step {
    const random = this.#random;
    const mode = random.below(2) ? random.pick(MODES) : undefined;
    const length = random.below(2) ? random.below(2000) : undefined;
    const to = random.below(3) ? path : this.#sibling(path);
    const run: Run = ({ client }, signal) =>
      client.wstat(path, {
        ...(mode === undefined ? {} : { mode }),
        ...(length === undefined ? {} : { length }),
        ...(to === path ? {} : { name: to.slice(to.lastIndexOf("/") + 1) }),
      }, { signal });
    const name = `change ${path}: mode ${mode}, length ${length}, path ${to}`;
    const old = state.get(path);
    if (old === undefined) return plan(name, state, ["ENOENT"], run);
    const codes: string[] = [];
    if (to !== path && state.has(to)) codes.push("EEXIST");
    if (length !== undefined && !may(old, WRITE)) codes.push("EACCES");
    return plan(name, state, codes, run, () => {
      const { text = "" } = old;
      const cut = text.slice(0, length).padEnd(length ?? 0, "\0");
      const entry = { mode: mode ?? old.mode, text: cut };
      return [moved(changed(state, path, entry), path, to)];
    });
  }

  #rename(state: State, from: string, to: string): Step {
    const run: Run = ({ client }, signal) =>
      client.rename(from, to, { signal });
    const codes: string[] = [];
    if (!state.has(from)) codes.push("ENOENT");
    else if (to !== from && state.has(to)) codes.push("EEXIST");
    const next = () => [moved(state, from, to)];
    return plan(`rename ${from} to ${to}`, state, codes, run, next);
  }

  #mkdir(state: State, path: string): Step {
    const run: Run = ({ client }, signal) => client.mkdir(path, { signal });
    const codes = cannotCreate(state, path);
    const next = () => [changed(state, path, { mode: HOME_MODE })];
    return plan(`make ${path}`, state, codes, run, next);
  }

  #remove(state: State, path: string): Step {
    const run: Run = ({ client }, signal) => client.remove(path, { signal });
    const codes: string[] = [];
    if (!state.has(path)) codes.push("ENOENT");
    else if (membersOf(state, path).length > 0) codes.push("ENOTEMPTY");
    const next = () => [changed(state, path)];
    return plan(`remove ${path}`, state, codes, run, next);
  }

  /** Opens a file that goes when it is closed. */
  #removeOnClose(state: State, path: string): Step {
    const text = this.#text().slice(0, this.limit);
    const run: Run = async ({ client }, signal) => {
      const fid = await client.protocol.walk(path, { signal });
      try {
        const mode = OWRITE | ORCLOSE;
        await client.protocol.rpc({ type: "Topen", fid, mode }, { signal });
        await client.protocol.write(fid, text, { signal });
      } finally {
        await client.protocol.clunk(fid);
      }
    };
    const codes = cannotOpen(state, path, WRITE);
    const step = plan(
      `open ${path} for the last time`,
      state,
      codes,
      run,
      () => [
        changed(state, path, patched(fileIn(state, path), text, 0)),
        changed(state, path),
      ],
    );
    return { ...step, late: true };
  }

  /** Makes a file that goes when it is closed. */
  #createRemoved(state: State, path: string): Step {
    const run: Run = async ({ client }, signal) => {
      const mode = ORDWR | ORCLOSE;
      await using file = await client.create(path, { mode, signal });
      await file.write(encoder.encode("passing"), { signal });
      assertEquals((await client.stat(path, { signal })).length, 7);
    };
    const codes = cannotCreate(state, path);
    const step = plan(`create ${path} for a while`, state, codes, run, () => {
      const entry = newFile(state, path, 0o666);
      const full = changed(state, path, { ...entry, text: "passing" });
      return [changed(state, path, entry), full, state];
    });
    return { ...step, late: true };
  }

  /** Several operations that change nothing, at the same time. */
  #burst(state: State): Step {
    const length = this.#random.pick([1, 1, 2, 8]);
    const steps = Array.from({ length }, () => this.#question(state));
    const run: Run = async (user, signal) => {
      const ends = await Promise.allSettled(
        steps.map((step) => asTold(step, step.run(user, signal))),
      );
      for (const end of ends) {
        if (end.status === "rejected") throw end.reason;
      }
    };
    return plan(steps.map(({ name }) => name).join(", "), state, [], run);
  }

  /** An operation that changes nothing. */
  #question(state: State): Step {
    const random = this.#random;
    const path = `${this.#home}/${random.pick(FILES)}`;
    switch (random.below(8)) {
      case 0: {
        const run: Run = async ({ client }, signal) =>
          assertEquals(
            await client.readTextFile(path, { signal }),
            state.get(path)?.text,
          );
        return plan(`read ${path}`, state, cannotOpen(state, path, READ), run);
      }
      case 1: {
        const run: Run = async ({ client }, signal) => {
          const { mode, length, uid } = await client.stat(path, { signal });
          const { mode: known, text } = fileIn(state, path);
          assertEquals([mode, length], [known, text?.length]);
          assertEquals(uid, this.#name);
        };
        const codes = state.has(path) ? [] : ["ENOENT"];
        return plan(`stat ${path}`, state, codes, run);
      }
      case 2: {
        const dir = random.below(2) ? this.#home : this.#dir();
        const run: Run = async ({ client }, signal) => {
          const names = await namesIn(client, dir, signal);
          assertEquals(names.sort(), membersOf(state, dir).sort());
        };
        const codes = state.has(dir) ? [] : ["ENOENT"];
        return plan(`list ${dir}`, state, codes, run);
      }
      case 3:
        return this.#shared.trespass(state, this.#name, random);
      case 4:
        return this.#shared.walk(state, random);
      case 5:
        return this.#shared.list(state, this.#name);
      case 6:
        return this.#shared.readRecord(state, random);
      default:
        return this.#shared.call(state, this.#name, random);
    }
  }
}

/** What a state has at a path, where it must have a file. */
function fileIn(state: State, path: string): Entry {
  const entry = state.get(path);
  assert(entry?.text !== undefined, `${path} is no file`);
  return entry;
}

/** Names of the members of a directory, as a client lists them. */
export async function namesIn(
  client: Client,
  path: string,
  signal: AbortSignal,
): Promise<string[]> {
  const stats = await Array.fromAsync(client.readDir(path, { signal }));
  return stats.map(({ name }) => name);
}

/** Waits for an operation, which must end as it says, unless the connection or the caller ends it. */
export async function asTold(step: Step, done: Promise<void>): Promise<void> {
  const { name, codes } = step;
  try {
    await done;
  } catch (error) {
    if (!(error instanceof NinePError)) throw error;
    if (codes?.includes(error.code ?? "")) return;
    throw new Error(`${name}: ${error.message}`, { cause: error });
  }
  assert(codes === undefined, `${name}: ${codes} expected, it succeeded`);
}
