// What a case works with: connections, its own directory, users, and the files
// that a server may offer for it. All is taken back when the case is over.

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
import { fail, Failure, NoConnection, NoReply, skip } from "./check.ts";
import { T } from "./requests.ts";
import { DIR, ROOT, Session, split } from "./session.ts";
import { brief, END } from "./wire.ts";

/** How a session of a case starts. */
export interface SessionOptions {
  /** Largest message to ask for, 8192 by default. */
  readonly msize?: number;
  /** User, the one of the options by default. */
  readonly uname?: string;
}

const PATIENCE_MS = 3_000;
const TIMEOUT_MS = 30_000;
/** Replies that a case may wait for at the least, each as long as it may take. */
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
  /** Two groups that the first of them leads. */
  readonly groups: readonly [string, string] | undefined;
  /** Whether this library's own answers are demanded. */
  readonly strict: boolean;
  /** Limits of the server. */
  readonly limits: Required<Omit<ServerLimits, "connections">> & ServerLimits;
  /** Number that the random messages come from. */
  readonly seed: number;
  /** Time in milliseconds for random messages. */
  readonly randomTime: number;
  /** Longest time in milliseconds that a reply may take. */
  readonly patience: number;
  /** Longest time in milliseconds that the case may take. */
  readonly timeout: number;
  /** A server that wants an authentication. */
  readonly auth: AuthServer | undefined;
  /** Starts a server that may be stopped. */
  readonly expendable: (() => Promise<ExpendableServer>) | undefined;

  readonly #connect: Connect;
  readonly #files: Fixtures;
  /** Where the case's directory is, from the root. */
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

  /** A connection on which nothing was said. */
  async connect(connect: Connect = this.#connect): Promise<Session> {
    const connecting = Promise.resolve().then(connect);
    connecting.catch(() => {});
    let timer;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(
        () => reject(new NoReply("got no connection, wanted one")),
        this.patience,
      );
    });
    let connection;
    try {
      connection = await Promise.race([connecting, late]);
    } catch (error) {
      // It may come yet, when nobody wants it any more.
      connecting.then((late) => late.close(), () => {});
      if (error instanceof Failure) throw error;
      const reason = error instanceof Error ? error.message : String(error);
      throw new NoConnection(`got no connection: ${reason}`);
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

  /** A connection with a session, and ROOT, a fid of the root. */
  async root(options: SessionOptions = {}): Promise<Session> {
    const session = await this.connect();
    await session.begin(options.msize);
    await this.attach(session, ROOT, options.uname ?? this.uname);
    return session;
  }

  /** Makes a fid of the root for a user; one who is not let in costs the case. */
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
   * A connection with a session, ROOT, and DIR: a fid of the directory that
   * the case has for itself, in which everybody may do everything.
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

  /** Name of the case's directory. */
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
    // Where that cannot be, the cases with more users will say so.
    if ((mode & 0o777) !== 0o777) {
      await session.attempt(T.wstat(fid, { mode: DMDIR + 0o777 }));
    }
    await session.clunk(fid);
  }

  /**
   * A session of another user: 0 or 1 of the options' two. A server that does
   * not tell users apart costs the case.
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

  /** Who owns what a session makes. */
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

  /** Another connection is served. */
  async othersAreServed(): Promise<void> {
    const other = await this.root();
    await other.stat(ROOT);
    other.close();
  }

  /** Whether the server offers a file. */
  has(session: Session, name: keyof Fixtures): Promise<boolean> {
    return session.exists(this.#files[name], ROOT);
  }

  /** A new fid for a file that the server may offer; else the case is skipped. */
  async fixture(session: Session, name: keyof Fixtures): Promise<number> {
    const path = this.#files[name];
    if (!await this.has(session, name)) {
      skip(`no file "${path}" here, ${FIXTURE_NEEDS[name]}`);
    }
    return await session.at(path, ROOT);
  }

  /** The same, open. */
  async openFixture(
    session: Session,
    name: keyof Fixtures,
    mode: number = OREAD,
  ): Promise<number> {
    const fid = await this.fixture(session, name);
    await session.open(fid, mode);
    return fid;
  }

  /** A new fid for a function that a Tcall reaches; else the case is skipped. */
  async callable(session: Session, name: "add" | "fail"): Promise<number> {
    const fid = await this.fixture(session, name);
    const reply = await session.ask(T.call(fid, '{"argv": [1, 2]}'));
    if (reply === END) return fail(brief(reply), "a reply to a Tcall");
    const isFunction = reply.type === "Rcall" && reply.err === 0 ||
      reply.type === "Rerror" && reply.ename.startsWith("{");
    if (!isFunction && !this.strict) {
      skip(`no Tcall here, or "${this.#files[name]}" is no function`);
    }
    return fid;
  }

  /** A read that blocks: the tag of a Tread that is not answered. */
  async block(session: Session, tag?: number): Promise<number> {
    const fid = await this.openFixture(session, "block");
    return session.start(T.read(fid), tag);
  }

  /** Ends all reads that block; a server that has no such file says false. */
  async release(): Promise<boolean> {
    const session = await this.root();
    const there = await this.has(session, "release");
    if (there) await session.read(await this.openFixture(session, "release"));
    session.close();
    return there;
  }

  /** Tries until something holds, for as long as a reply may take. */
  async eventually(
    what: string,
    attempt: () => Promise<boolean>,
  ): Promise<void> {
    const end = Date.now() + this.patience;
    for (let wait = 1; !await attempt(); wait = Math.min(wait * 2, 50)) {
      if (Date.now() > end) fail(`no such thing in ${this.patience} ms`, what);
      await pause(wait);
    }
  }

  /** An authentication: a fid for its file, which the server must grant. */
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

  /** A session on a server that wants an authentication; else the case is skipped. */
  async authSession(): Promise<Session> {
    const session = await this.connect(this.auth?.connect);
    await session.version();
    const request = T.auth(90, this.uname, this.aname);
    const granted = await session.attempt(request);
    if (typeof granted === "string") skip("no authentication here");
    await session.clunk(90);
    return session;
  }

  /** Ends all connections; there will be no more. */
  end(): void {
    this.#over = true;
    for (const session of this.#sessions) session.close();
  }

  /** Ends all connections, and removes the case's directory. */
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

/** Removes a file, and all that is in it; what is not allowed is left. */
async function removeAll(session: Session, fid: number): Promise<void> {
  const { qid } = await session.stat(fid);
  if ((qid.type & QTDIR) !== 0) {
    await session.attempt(T.wstat(fid, { mode: DMDIR + 0o777 }));
    const dir = session.newFid();
    await session.walk(fid, dir);
    const opened = await session.attempt(T.open(dir));
    const members = typeof opened === "string" ? [] : await session.list(dir);
    for (const { name } of members) {
      if (!isName(name)) continue; // A server may list `..`: nothing else is ours to remove.
      const member = session.newFid();
      const walked = await session.attempt(T.walk(fid, member, name));
      if (typeof walked !== "string") await removeAll(session, member);
    }
    await session.clunk(dir);
  }
  await session.attempt(T.remove(fid));
}

/** Waits. */
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
