// A connection with the words of the protocol. Each method sends what its name
// says and fails the case unless it succeeds; refuses() is for the rest.

import {
  decodeDir,
  DMDIR,
  NOFID,
  NOTAG,
  OREAD,
  OWRITE,
  type Qid,
  type Rcreate,
  type Ropen,
  type Rversion,
  type Stat,
} from "../../codec.ts";
import { fail, Failure, skip } from "./check.ts";
import { bytesOf, T } from "./requests.ts";
import { brief, END, Wire } from "./wire.ts";

/** Fid of the root, in every session of a Trial. */
export const ROOT = 0;
/** Fid of the case's own directory, in most sessions of a Trial. */
export const DIR = 1;

const decoder = new TextDecoder();

/** A file to make. */
export interface MakeOptions {
  /** Content; none by default. */
  readonly data?: string | Uint8Array;
  /** Permissions and DM bits, 0644 by default. */
  readonly perm?: number;
}

/** A connection to the server that is judged. */
export class Session extends Wire {
  #lastFid = 99;

  /** A fid from 100 on, that was not used before. */
  newFid(): number {
    return ++this.#lastFid;
  }

  /** Starts a session; the frames of the server are bounded from then on. */
  async version(msize = 8192, version = "9P2000"): Promise<Rversion> {
    const request = T.version(msize, version);
    const tag = this.start(request, NOTAG);
    const reply = await this.done(request, tag);
    this.msize = reply.msize;
    return reply;
  }

  /** The same, which must be one of 9P2000. */
  async begin(msize?: number): Promise<void> {
    const { version } = await this.version(msize);
    if (version !== "9P2000") fail(`the version "${version}"`, `"9P2000"`);
  }

  /** Makes a fid of the root. */
  async attach(fid: number, uname: string, aname: string): Promise<Qid> {
    return (await this.do(T.attach(fid, uname, aname))).qid;
  }

  /** Walks all of the names. */
  async walk(fid: number, newfid: number, ...names: string[]): Promise<Qid[]> {
    const { wqid } = await this.do(T.walk(fid, newfid, ...names));
    if (wqid.length !== names.length) {
      fail(`${wqid.length} qids for ${JSON.stringify(names)}`, "all of them");
    }
    return wqid;
  }

  /** Opens a fid. */
  open(fid: number, mode: number = OREAD): Promise<Ropen> {
    return this.do(T.open(fid, mode));
  }

  /** Makes a file in the directory of a fid, which then is that file, open. */
  create(
    fid: number,
    name: string,
    perm = 0o644,
    mode: number = OWRITE,
  ): Promise<Rcreate> {
    return this.do(T.create(fid, name, perm, mode));
  }

  /** Reads once. */
  async read(
    fid: number,
    offset: number | bigint = 0,
    count = 4096,
  ): Promise<Uint8Array> {
    const { data } = await this.do(T.read(fid, offset, count));
    if (data.length > count) {
      fail(`${data.length} bytes`, `at most the ${count} asked for`);
    }
    return data;
  }

  /** Reads once, as text. */
  async text(
    fid: number,
    offset: number | bigint = 0,
    count = 4096,
  ): Promise<string> {
    return decoder.decode(await this.read(fid, offset, count));
  }

  /** Writes once, all of it. */
  async write(
    fid: number,
    data: string | Uint8Array,
    offset: number | bigint = 0,
  ): Promise<void> {
    const { count } = await this.do(T.write(fid, data, offset));
    const { length } = bytesOf(data);
    if (count !== length) fail(`Rwrite count ${count}`, `the ${length} sent`);
  }

  /** Gives a fid back. */
  async clunk(fid: number): Promise<void> {
    await this.do(T.clunk(fid));
  }

  /** Removes a fid's file. */
  async remove(fid: number): Promise<void> {
    await this.do(T.remove(fid));
  }

  /** Attributes of a fid's file. */
  async stat(fid: number): Promise<Stat> {
    return (await this.do(T.stat(fid))).stat;
  }

  /** Changes attributes. */
  async wstat(fid: number, changes: Partial<Stat> = {}): Promise<void> {
    await this.do(T.wstat(fid, changes));
  }

  /** Calls a function: the value's text. */
  async call(
    fid: number,
    text: string,
    data: string | Uint8Array = "",
  ): Promise<string> {
    const reply = await this.do(T.call(fid, text, data));
    if (reply.err !== 0) fail(`Rcall err ${reply.err}`, "err 0");
    return decoder.decode(reply.data);
  }

  // What follows takes several messages, and paths below DIR.

  /** A new fid for a file, not open. */
  async at(path: string, from: number = DIR): Promise<number> {
    const fid = this.newFid();
    await this.walk(from, fid, ...split(path));
    return fid;
  }

  /** A new fid for a file, open. */
  async opened(
    path: string,
    mode: number = OREAD,
    from: number = DIR,
  ): Promise<number> {
    const fid = await this.at(path, from);
    await this.open(fid, mode);
    return fid;
  }

  /** Makes a file, and gives its qid of then. */
  async make(path: string, options: MakeOptions = {}): Promise<Qid> {
    const { data = "", perm = 0o644 } = options;
    const { dir, name } = parentOf(path);
    const fid = await this.at(dir);
    const { qid } = await this.create(fid, name, perm);
    if (data.length > 0) await this.write(fid, data);
    await this.clunk(fid);
    return qid;
  }

  /** Makes a directory, with just these permissions whatever its parent has. */
  async mkdir(path: string, perm = 0o755): Promise<void> {
    const { dir, name } = parentOf(path);
    const fid = await this.at(dir);
    await this.create(fid, name, DMDIR + perm, OREAD);
    await this.clunk(fid);
    await this.chmod(path, DMDIR + perm);
  }

  /** Gives a file a mode; see setMode(). */
  async chmod(path: string, mode: number): Promise<void> {
    const fid = await this.at(path);
    await this.setMode(fid, mode);
    await this.clunk(fid);
  }

  /**
   * Gives a fid's file a mode, for what is to be seen then; a server that does
   * not let the owner costs the case.
   */
  async setMode(fid: number, mode: number): Promise<void> {
    const { mode: present } = await this.stat(fid);
    if (present === mode) return;
    const reply = await this.attempt(T.wstat(fid, { mode }));
    if (typeof reply === "string") {
      skip(`no mode can be changed here: ${reply}`);
    }
  }

  /**
   * Makes a file old, so that a change shows in its mtime at once; where the
   * server lets the owner. A server that changes more than the mtime costs the
   * case: what it does then with the file is not what the case is about.
   *
   * @returns Its attributes then, and whether its mtime will tell.
   */
  async age(fid: number): Promise<{ before: Stat; isOld: boolean }> {
    const { mode, length } = await this.stat(fid);
    await this.attempt(T.wstat(fid, { mtime: LONG_AGO }));
    const before = await this.stat(fid);
    if (before.mode !== mode || before.length !== length) {
      const now = `mode 0${before.mode.toString(8)}, length ${before.length}`;
      const what = `a Twstat of nothing but mtime gave the file ${now}`;
      if (this.strict) fail(what, "no other change");
      skip(`${what}; see S96`);
    }
    return { before, isOld: this.strict || before.mtime === LONG_AGO };
  }

  /**
   * Whether the server grants any Twstat: its user is refused a new mode, name,
   * length and mtime of an own file where there is none. A strict run takes it
   * for granted.
   */
  async hasWstat(): Promise<boolean> {
    if (this.strict) return true;
    const fid = this.newFid();
    await this.walk(DIR, fid);
    await this.create(fid, "changeable");
    const changes: Partial<Stat>[] = [
      { mode: 0o600 },
      { name: "changed" },
      { length: 0n },
      { mtime: LONG_AGO },
    ];
    let isGranted = false;
    for (const change of changes) {
      const reply = await this.attempt(T.wstat(fid, change));
      isGranted = typeof reply !== "string";
      if (isGranted) break;
    }
    await this.remove(fid);
    return isGranted;
  }

  /** Attributes of a file. */
  async statOf(path: string): Promise<Stat> {
    const fid = await this.at(path);
    const stat = await this.stat(fid);
    await this.clunk(fid);
    return stat;
  }

  /** Content of a small file. */
  async content(path: string): Promise<string> {
    const fid = await this.opened(path);
    const text = await this.text(fid);
    await this.clunk(fid);
    return text;
  }

  /** The directory data of an open fid, from the start to the end. */
  async records(fid: number, count = 4096): Promise<Uint8Array[]> {
    const replies: Uint8Array[] = [];
    let offset = 0;
    while (true) {
      const data = await this.read(fid, offset, count);
      if (data.length === 0) return replies;
      replies.push(data);
      offset += data.length;
    }
  }

  /** The members of a directory whose fid is open, in their order. */
  async list(fid: number, count = 4096): Promise<Stat[]> {
    return (await this.records(fid, count)).flatMap(membersOf);
  }

  /** Names in a directory, sorted. */
  async names(path: string): Promise<string[]> {
    const fid = await this.opened(path);
    const members = await this.list(fid);
    await this.clunk(fid);
    return members.map(({ name }) => name).sort();
  }

  /** Whether there is such a file. */
  async exists(path: string, from: number = DIR): Promise<boolean> {
    const names = split(path);
    const fid = this.newFid();
    const reply = await this.ask(T.walk(from, fid, ...names));
    if (reply === END) fail(brief(reply), "Rwalk");
    if (reply.type !== "Rwalk" || reply.wqid.length < names.length) {
      return false;
    }
    await this.clunk(fid);
    return true;
  }

  /** There must be such a file. */
  async mustExist(path: string): Promise<void> {
    if (!await this.exists(path)) fail(`no file "${path}"`, "it to be there");
  }

  /** There must be no such file. */
  async mustBeGone(path: string): Promise<void> {
    if (await this.exists(path)) fail(`a file "${path}"`, "none");
  }

  /** A fid must be unknown. */
  async unborn(fid: number): Promise<void> {
    const reply = await this.ask(T.stat(fid));
    if (reply === END || reply.type !== "Rerror") {
      fail(`${brief(reply)} for fid ${fid}`, "an error, for it is no fid");
    }
    if (this.strict) {
      this.refused(reply, "Tstat", "fid unknown or out of range");
    }
  }

  /** A fid must stand for the file of a qid. */
  async standsFor(fid: number, qid: Qid, what = `fid ${fid}`): Promise<void> {
    const { path } = (await this.stat(fid)).qid;
    if (path !== qid.path) {
      fail(`${what} at qid path ${path}`, `qid path ${qid.path}`);
    }
  }
}

/** The stat records of one directory read, which must be whole. */
export function membersOf(data: Uint8Array): Stat[] {
  try {
    return decodeDir(data);
  } catch (error) {
    const detail = error instanceof Error ? error.message : String(error);
    throw new Failure(`got a read of a directory that is broken: ${detail}`);
  }
}

/** A time long ago, in seconds. */
export const LONG_AGO = 1_000_000_000;

/** A fid that nothing uses. */
export const NO_SUCH_FID: number = NOFID - 1;

/** The names of a path. */
export function split(path: string): string[] {
  return path.split("/").filter((name) => name !== "");
}

function parentOf(path: string): { dir: string; name: string } {
  const names = split(path);
  const name = names.pop() ?? "";
  return { dir: names.join("/"), name };
}
