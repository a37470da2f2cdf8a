// The resources of a case: its connections, its directory, its users, and the
// files that a server may offer. The trial releases them when the case is over.

import { DMDIR, isName, OREAD, QTDIR, type Rattach } from "../../codec.ts";
import type {
  AuthNames,
  AuthServer,
  ConformanceOptions,
  Connect,
  ExpendableServer,
  Fixtures,
  ServerLimits,
} from "./case.ts";
import {
  ConnectionFailure,
  fail,
  Failure,
  skip,
  TimeoutFailure,
} from "./check.ts";
import { T } from "./requests.ts";
import { DIR, ROOT, Session, split } from "./session.ts";
import { describe, END } from "./wire.ts";

/** Options for the start of a session. */
export interface SessionOptions {
  /** Largest message to ask for, 8192 by default. */
  readonly msize?: number;
  /** User; by default the user of the options. */
  readonly uname?: string;
}

const PATIENCE_MS = 3_000;
const TIMEOUT_MS = 30_000;
/** Replies that a case has time to wait for, each for `patience`. */
export const REPLIES = 10;

const FILES: Fixtures = {
  add: "add",
  measure: "measure",
  serial: "serial",
  ticker: "ticker",
  fail: "fail",
  exit: "exit",
  block: "block",
  release: "release",
  cancelled: "cancelled",
  broken: "broken",
};

/** One run of one case. */
export class Trial {
  /** The messages of its connections, in order. */
  readonly log: string[] = [];
  /** User who attaches. */
  readonly uname: string;
  /** Tree. */
  readonly aname: string;
  /** Two more users. */
  readonly users: readonly [string, string];
  /** Two groups that the first of these users leads. */
  readonly groups: readonly [string, string] | undefined;
  /** True when only the answers of this library pass. */
  readonly strict: boolean;
  /** Limits of the server. */
  readonly limits: Required<Omit<ServerLimits, "connections">> & ServerLimits;
  /** Seed of the random messages. */
  readonly seed: number;
  /** Time in milliseconds for random messages. */
  readonly randomTime: number;
  /** Longest time in milliseconds that a reply may take. */
  readonly patience: number;
  /** Longest time in milliseconds that the case may take. */
  readonly timeout: number;
  /** A server that requires authentication. */
  readonly auth: AuthServer | undefined;
  /** Starts a server that may be stopped. */
  readonly expendable: (() => Promise<ExpendableServer>) | undefined;

  readonly #connect: Connect;
  readonly #files: Fixtures;
  /** Path of the parent of the case's directory, from the root. */
  readonly #parent: readonly string[];
  readonly #sessions: Session[] = [];
  #directory: string | undefined;
  #over = false;

  constructor(connect: Connect, options: ConformanceOptions) {
    this.#connect = connect;
    this.uname = options.uname ?? "glenda";
    this.aname = options.aname ?? "";
    this.#parent = split(options.dir ?? "");
    this.users = options.users ?? ["bootes", "rob"];
    this.groups = options.groups;
    this.strict = options.strict ?? false;
    this.limits = { fids: 65536, requests: 1024, ...options.limits };
    this.seed = options.seed ?? 1;
    this.randomTime = options.randomTime ?? 1000;
    this.patience = options.patience ?? PATIENCE_MS;
    this.timeout = options.timeout ??
      Math.max(TIMEOUT_MS, REPLIES * this.patience);
    this.auth = options.auth;
    this.expendable = options.expendable;
    this.#files = { ...FILES, ...options.files };
  }

  /** Opens a connection, and sends nothing yet. */
  async connect(connect: Connect = this.#connect): Promise<Session> {
    const connecting = Promise.resolve().then(connect);
    connecting.catch(() => {});
    let timer;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(
        () => reject(new TimeoutFailure("got no connection, wanted one")),
        this.patience,
      );
    });
    let connection;
    try {
      connection = await Promise.race([connecting, late]);
    } catch (error) {
      // A connection that opens after the time limit is closed at once.
      connecting.then((late) => late.close(), () => {});
      if (error instanceof Failure) throw error;
      const reason = error instanceof Error ? error.message : String(error);
      throw new ConnectionFailure(`got no connection: ${reason}`);
    } finally {
      clearTimeout(timer);
    }
    if (this.#over) {
      connection.close();
      throw new Failure("the case is over");
    }
    const session = new Session(connection, {
      number: this.#sessions.length + 1,
      patience: this.patience,
      strict: this.strict,
      log: this.log,
    });
    this.#sessions.push(session);
    return session;
  }

  /**
   * Opens a connection, starts a session, and makes ROOT, a fid of the root.
   */
  async root(options: SessionOptions = {}): Promise<Session> {
    const session = await this.connect();
    await session.begin(options.msize);
    await this.attach(session, ROOT, options.uname ?? this.uname);
    return session;
  }

  /**
   * Attaches a user. The case is skipped when the server refuses another user
   * than `uname`.
   */
  async attach(session: Session, fid: number, uname: string): Promise<Rattach> {
    const request = T.attach(fid, uname, this.aname);
    if (uname === this.uname) return await session.do(request);
    const attached = await session.attempt(request);
    if (typeof attached === "string") {
      skip(`the user "${uname}" is not let in: ${attached}`);
    }
    return attached;
  }

  /**
   * Opens a connection, starts a session, and makes the fids ROOT and DIR. DIR
   * is the case's own directory, in which every user has all permissions.
   */
  async session(options: SessionOptions = {}): Promise<Session> {
    const session = await this.root(options);
    if (this.#directory === undefined) {
      const maker = this.#isMain(options) ? session : await this.root();
      await this.#makeDirectory(maker);
    }
    await session.walk(ROOT, DIR, ...this.path);
    return session;
  }

  #isMain({ uname = this.uname, msize = 8192 }: SessionOptions): boolean {
    return uname === this.uname && msize >= 8192;
  }

  /** The name of the case's directory. */
  get directory(): string {
    return this.#directory ?? fail("no directory yet", "one");
  }

  /** The names from the root to the case's directory. */
  get path(): readonly string[] {
    return [...this.#parent, this.directory];
  }

  async #makeDirectory(session: Session): Promise<void> {
    const name = `conformance-${crypto.randomUUID().slice(0, 8)}`;
    const fid = session.newFid();
    await session.walk(ROOT, fid, ...this.#parent);
    const create = T.create(fid, name, DMDIR + 0o777, OREAD);
    const made = await session.attempt(create);
    if (typeof made === "string") {
      const where = this.#parent.length === 0 ? "the root" : "its directory";
      fail(`the error "${made}" for a directory in ${where}`, "Rcreate");
    }
    this.#directory = name;
    const { mode } = await session.stat(fid);
    // When the server refuses, the cases with several users report it.
    if ((mode & 0o777) !== 0o777) {
      await session.attempt(T.wstat(fid, { mode: DMDIR + 0o777 }));
    }
    await session.clunk(fid);
  }

  /**
   * Opens a session of another user: `users[0]` or `users[1]`. The case is
   * skipped when the server does not tell the users apart.
   */
  async guest(which: 0 | 1): Promise<Session> {
    const uname = this.users[which];
    await this.#ensureDirectory();
    const session = await this.session({ uname });
    const own = await this.session();
    const uid = await this.#ownerOfNew(session, uname);
    if (uid === await this.#ownerOfNew(own, uname)) {
      skip(`"${uname}" and "${this.uname}" are one user here`);
    }
    own.close();
    return session;
  }

  /** Returns the owner of a file that a session makes. */
  async #ownerOfNew(session: Session, uname: string): Promise<string> {
    const fid = session.newFid();
    await session.walk(DIR, fid);
    const create = T.create(fid, "of-a-user", 0o600, OREAD);
    const made = await session.attempt(create);
    if (typeof made === "string") {
      skip(`"${uname}" cannot write here: ${made}`);
    }
    const { uid } = await session.stat(fid);
    await session.remove(fid);
    return uid;
  }

  async #ensureDirectory(): Promise<void> {
    if (this.#directory === undefined) (await this.session()).close();
  }

  /** Fails unless the server serves another connection. */
  async mustServeOthers(): Promise<void> {
    const other = await this.root();
    await other.stat(ROOT);
    other.close();
  }

  /** True when the server offers a file. */
  has(session: Session, name: keyof Fixtures): Promise<boolean> {
    return session.exists(this.#files[name], ROOT);
  }

  /**
   * Makes a fid of a file that the server may offer. Without the file, the case
   * is skipped.
   */
  async fixture(session: Session, name: keyof Fixtures): Promise<number> {
    const path = this.#files[name];
    if (!await this.has(session, name)) {
      skip(`no file "${path}" here, ${FIXTURE_NEEDS[name]}`);
    }
    return await session.walkTo(path, ROOT);
  }

  /** Makes an open fid of a file that the server may offer. */
  async openFixture(
    session: Session,
    name: keyof Fixtures,
    mode: number = OREAD,
  ): Promise<number> {
    const fid = await this.fixture(session, name);
    await session.open(fid, mode);
    return fid;
  }

  /**
   * Makes a fid of a function that a Tcall can call. Without such a function,
   * the case is skipped.
   */
  async callable(session: Session, name: "add" | "fail"): Promise<number> {
    const fid = await this.fixture(session, name);
    const reply = await session.ask(T.call(fid, '{"argv": [1, 2]}'));
    if (reply === END) return fail(describe(reply), "a reply to a Tcall");
    const isFunction = reply.type === "Rcall" && reply.err === 0 ||
      reply.type === "Rerror" && reply.ename.startsWith("{");
    if (!isFunction && !this.strict) {
      skip(`no Tcall here, or "${this.#files[name]}" is no function`);
    }
    return fid;
  }

  /** Starts a read that blocks, and returns the tag of the Tread. */
  async block(session: Session, tag?: number): Promise<number> {
    const fid = await this.openFixture(session, "block");
    return session.start(T.read(fid), tag);
  }

  /**
   * Ends all reads that block. Returns false when the server has no file for
   * this.
   */
  async release(): Promise<boolean> {
    const session = await this.root();
    const there = await this.has(session, "release");
    if (there) await session.read(await this.openFixture(session, "release"));
    session.close();
    return there;
  }

  /** Repeats an attempt until it succeeds; fails after `patience`. */
  async eventually(
    goal: string,
    attempt: () => Promise<boolean>,
  ): Promise<void> {
    const end = Date.now() + this.patience;
    for (let wait = 1; !await attempt(); wait = Math.min(wait * 2, 50)) {
      if (Date.now() > end) fail(`no such thing in ${this.patience} ms`, goal);
      await pause(wait);
    }
  }

  /** Makes an afid and runs the exchange; fails when the server refuses. */
  async authenticate(
    session: Session,
    afid: number,
    names: AuthNames,
  ): Promise<void> {
    await session.do(T.auth(afid, names.uname, names.aname));
    await this.auth?.exchange({
      read: () => session.read(afid),
      write: (data) => session.write(afid, data),
    }, names);
  }

  /**
   * Starts a session on a server that requires authentication. Without such a
   * server, the case is skipped.
   */
  async authSession(): Promise<Session> {
    const session = await this.connect(this.auth?.connect);
    await session.version();
    const request = T.auth(90, this.uname, this.aname);
    const granted = await session.attempt(request);
    if (typeof granted === "string") skip("no authentication here");
    await session.clunk(90);
    return session;
  }

  /** Closes all connections; the case can open no more. */
  end(): void {
    this.#over = true;
    for (const session of this.#sessions) session.close();
  }

  /** Closes all connections, and removes the case's directory. */
  async cleanUp(): Promise<void> {
    for (const session of this.#sessions) session.close();
    if (this.#directory === undefined) return;
    const name = this.#directory;
    const session = await this.root();
    const fid = session.newFid();
    const walked = await session.attempt(T.walk(ROOT, fid, ...this.path));
    if (typeof walked !== "string") await removeAll(session, fid);
    if (await session.exists(this.path.join("/"), ROOT)) {
      throw new Failure(`cannot clean up: "${name}" is still there`);
    }
  }
}

/**
 * Removes a file or a directory with its members. Files that the server refuses
 * to remove stay.
 */
async function removeAll(session: Session, fid: number): Promise<void> {
  const { qid } = await session.stat(fid);
  if ((qid.type & QTDIR) !== 0) {
    await session.attempt(T.wstat(fid, { mode: DMDIR + 0o777 }));
    const dir = session.newFid();
    await session.walk(fid, dir);
    const opened = await session.attempt(T.open(dir));
    const members = typeof opened === "string" ? [] : await session.list(dir);
    for (const { name } of members) {
      if (!isName(name)) continue; // A faulty server may list `..`, which must not be removed.
      const member = session.newFid();
      const walked = await session.attempt(T.walk(fid, member, name));
      if (typeof walked !== "string") await removeAll(session, member);
    }
    await session.clunk(dir);
  }
  await session.attempt(T.remove(fid));
}

/** Waits for a time. */
export function pause(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}

const FIXTURE_NEEDS: Fixtures = {
  add: "a function that adds `a` and `b`",
  measure: "a function that gives the sizes of its arguments",
  serial: "a function that gives another number at each call",
  ticker: "a function that is called at each read",
  fail: "a function that fails",
  exit: "a function that fails with the exit error",
  block: "a file whose read blocks",
  release: "a file that ends the reads that block",
  cancelled: "a file with the number of reads that were given up",
  broken: "a file whose read meets a defect",
};
