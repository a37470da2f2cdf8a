// A connection with a method for each request. A method sends the request of
// its
// name, and fails the case unless the request succeeds. refuses() expects an
// error.

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
import { describe, END, Wire } from "./wire.ts";

/** Fid of the root, in every session of a Trial. */
export const ROOT = 0;
/** Fid of the case's own directory, in most sessions of a Trial. */
export const DIR = 1;

const decoder = new TextDecoder();

/** Options for a new file. */
export interface MakeOptions {
  /** Content; none by default. */
  readonly data?: string | Uint8Array;
  /** Permissions and DM bits, 0644 by default. */
  readonly perm?: number;
}

/** A connection to the server under test. */
export class Session extends Wire {
  #lastFid = 99;

  /** Returns a fid number, from 100 on, that was not used before. */
  newFid(): number {
    return ++this.#lastFid;
  }

  /** Starts a session. From then on, a reply above its msize is a failure. */
  async version(msize = 8192, version = "9P2000"): Promise<Rversion> {
    const request = T.version(msize, version);
    const tag = this.start(request, NOTAG);
    const reply = await this.done(request, tag);
    this.msize = reply.msize;
    return reply;
  }

  /** Starts a session; fails unless the server chooses 9P2000. */
  async begin(msize?: number): Promise<void> {
    const { version } = await this.version(msize);
    if (version !== "9P2000") fail(`the version "${version}"`, `"9P2000"`);
  }

  /** Attaches: makes a fid of the root. */
  async attach(fid: number, uname: string, aname: string): Promise<Qid> {
    return (await this.do(T.attach(fid, uname, aname))).qid;
  }

  /** Walks; fails unless the server finds all names. */
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

  /**
   * Creates a file in the directory of a fid. The fid then is the new file,
   * open.
   */
  create(
    fid: number,
    name: string,
    perm = 0o644,
    mode: number = OWRITE,
  ): Promise<Rcreate> {
    return this.do(T.create(fid, name, perm, mode));
  }

  /** Sends one Tread. */
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

  /** Sends one Tread, and decodes the bytes as text. */
  async text(
    fid: number,
    offset: number | bigint = 0,
    count = 4096,
  ): Promise<string> {
    return decoder.decode(await this.read(fid, offset, count));
  }

  /** Sends one Twrite; fails unless the server writes all bytes. */
  async write(
    fid: number,
    data: string | Uint8Array,
    offset: number | bigint = 0,
  ): Promise<void> {
    const { count } = await this.do(T.write(fid, data, offset));
    const { length } = bytesOf(data);
    if (count !== length) fail(`Rwrite count ${count}`, `the ${length} sent`);
  }

  /** Clunks a fid. */
  async clunk(fid: number): Promise<void> {
    await this.do(T.clunk(fid));
  }

  /** Removes a fid's file. */
  async remove(fid: number): Promise<void> {
    await this.do(T.remove(fid));
  }

  /** Returns the attributes of a fid's file. */
  async stat(fid: number): Promise<Stat> {
    return (await this.do(T.stat(fid))).stat;
  }

  /** Changes attributes of a fid's file. */
  async wstat(fid: number, changes: Partial<Stat> = {}): Promise<void> {
    await this.do(T.wstat(fid, changes));
  }

  /** Calls a function by Tcall, and returns the text of the value. */
  async call(
    fid: number,
    text: string,
    data: string | Uint8Array = "",
  ): Promise<string> {
    const reply = await this.do(T.call(fid, text, data));
    if (reply.err !== 0) fail(`Rcall err ${reply.err}`, "err 0");
    return decoder.decode(reply.data);
  }

  // The methods below send several messages, and take paths below DIR.

  /** Makes a fid of a file, not open. */
  async walkTo(path: string, from: number = DIR): Promise<number> {
    const fid = this.newFid();
    await this.walk(from, fid, ...split(path));
    return fid;
  }

  /** Makes an open fid of a file. */
  async openPath(
    path: string,
    mode: number = OREAD,
    from: number = DIR,
  ): Promise<number> {
    const fid = await this.walkTo(path, from);
    await this.open(fid, mode);
    return fid;
  }

  /** Creates a file, and returns the qid of the Rcreate. */
  async make(path: string, options: MakeOptions = {}): Promise<Qid> {
    const { data = "", perm = 0o644 } = options;
    const { dir, name } = parentOf(path);
    const fid = await this.walkTo(dir);
    const { qid } = await this.create(fid, name, perm);
    if (data.length > 0) await this.write(fid, data);
    await this.clunk(fid);
    return qid;
  }

  /**
   * Creates a directory with exactly these permissions, whatever its parent
   * has.
   */
  async mkdir(path: string, perm = 0o755): Promise<void> {
    const { dir, name } = parentOf(path);
    const fid = await this.walkTo(dir);
    await this.create(fid, name, DMDIR + perm, OREAD);
    await this.clunk(fid);
    await this.chmod(path, DMDIR + perm);
  }

  /** Sets the mode of a file; see setMode(). */
  async chmod(path: string, mode: number): Promise<void> {
    const fid = await this.walkTo(path);
    await this.setMode(fid, mode);
    await this.clunk(fid);
  }

  /**
   * Sets the mode of a fid's file. The case is skipped when the server does not
   * let the owner change the mode.
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
   * Sets the mtime of a file to a time long ago, where the server allows it, so
   * that a later change of the file shows in its mtime at once. The case is
   * skipped when the server changes more than the mtime.
   *
   * @returns The attributes afterwards; `isOld` is true when the mtime will
   *   show a change.
   */
  async age(fid: number): Promise<{ before: Stat; isOld: boolean }> {
    const { mode, length } = await this.stat(fid);
    await this.attempt(T.wstat(fid, { mtime: LONG_AGO }));
    const before = await this.stat(fid);
    if (before.mode !== mode || before.length !== length) {
      const now = `mode 0${before.mode.toString(8)}, length ${before.length}`;
      const change = `a Twstat of nothing but mtime gave the file ${now}`;
      if (this.strict) fail(change, "no other change");
      skip(`${change}; see S96`);
    }
    return { before, isOld: this.strict || before.mtime === LONG_AGO };
  }

  /**
   * True when the server supports Twstat: it lets the owner of a file change
   * its mode, name, length or mtime. A strict run assumes this.
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

  /** Returns the attributes of a file. */
  async statOf(path: string): Promise<Stat> {
    const fid = await this.walkTo(path);
    const stat = await this.stat(fid);
    await this.clunk(fid);
    return stat;
  }

  /** Returns the content of a small file. */
  async content(path: string): Promise<string> {
    const fid = await this.openPath(path);
    const text = await this.text(fid);
    await this.clunk(fid);
    return text;
  }

  /** Reads a directory by its open fid. Returns the data of each Rread. */
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

  /** Lists a directory by its open fid, in the order of the server. */
  async list(fid: number, count = 4096): Promise<Stat[]> {
    return (await this.records(fid, count)).flatMap(membersOf);
  }

  /** Returns the sorted names in a directory. */
  async names(path: string): Promise<string[]> {
    const fid = await this.openPath(path);
    const members = await this.list(fid);
    await this.clunk(fid);
    return members.map(({ name }) => name).sort();
  }

  /** True when a file exists. */
  async exists(path: string, from: number = DIR): Promise<boolean> {
    const names = split(path);
    const fid = this.newFid();
    const reply = await this.ask(T.walk(from, fid, ...names));
    if (reply === END) fail(describe(reply), "Rwalk");
    if (reply.type !== "Rwalk" || reply.wqid.length < names.length) {
      return false;
    }
    await this.clunk(fid);
    return true;
  }

  /** Fails unless a file exists. */
  async mustExist(path: string): Promise<void> {
    if (!await this.exists(path)) fail(`no file "${path}"`, "it to be there");
  }

  /** Fails when a file exists. */
  async mustBeGone(path: string): Promise<void> {
    if (await this.exists(path)) fail(`a file "${path}"`, "none");
  }

  /** Fails unless a fid is unknown to the server. */
  async mustBeUnknown(fid: number): Promise<void> {
    const reply = await this.ask(T.stat(fid));
    if (reply === END || reply.type !== "Rerror") {
      fail(`${describe(reply)} for fid ${fid}`, "an error, for it is no fid");
    }
    if (this.strict) {
      this.refused(reply, "Tstat", "fid unknown or out of range");
    }
  }

  /** Fails unless a fid stands for the file of a qid. */
  async standsFor(fid: number, qid: Qid, label = `fid ${fid}`): Promise<void> {
    const { path } = (await this.stat(fid)).qid;
    if (path !== qid.path) {
      fail(`${label} at qid path ${path}`, `qid path ${qid.path}`);
    }
  }
}

/**
 * Decodes the data of one directory read; fails unless its records are whole.
 */
export function membersOf(data: Uint8Array): Stat[] {
  try {
    return decodeDir(data);
  } catch (error) {
    const detail = error instanceof Error ? error.message : String(error);
    throw new Failure(`got a read of a directory that is broken: ${detail}`);
  }
}

/** A time long ago, in seconds since 1970. */
export const LONG_AGO = 1_000_000_000;

/** A fid that no case uses. */
export const NO_SUCH_FID: number = NOFID - 1;

/** Splits a path into its names. */
export function split(path: string): string[] {
  return path.split("/").filter((name) => name !== "");
}

function parentOf(path: string): { dir: string; name: string } {
  const names = split(path);
  const name = names.pop() ?? "";
  return { dir: names.join("/"), name };
}
