// The public types of the kit: cases, options, results.

import type { Connection } from "../../transport.ts";

/** Opens a new connection to the server under test. */
export type Connect = () => Connection | Promise<Connection>;

/** A rule for servers, and the function that tests the rule. */
export interface Case {
  /** Number of the case, `S1` to `S126`; it never changes. */
  readonly id: string;
  /** The rule that the case tests. */
  readonly title: string;
  /** Page of the manual that has the rule, such as `walk(9P)`. */
  readonly manual: string;
  /**
   * Tests the rule in a bounded time. The case opens connections of its own and
   * works in a directory of its own, which it removes at the end.
   *
   * @param connect How to connect to the server.
   * @param options What the case may use, and how strict it is.
   * @returns The result; the promise never rejects.
   */
  run(connect: Connect, options?: ConformanceOptions): Promise<CaseResult>;
}

/**
 * The outcome of a case:
 *
 * - `ok`: the server follows the rule.
 * - `fail`: the server breaks the rule.
 * - `advice`: the server breaks a rule that the manual only recommends.
 * - `skip`: the server lacks the feature, or the manual promises nothing.
 * - `not run`: the server had ended before the case.
 */
export type Status = "ok" | "fail" | "advice" | "skip" | "not run";

/** The result of a case. */
export interface CaseResult {
  /** Number of the case. */
  readonly id: string;
  /** The rule that the case tests. */
  readonly title: string;
  /** Page of the manual that has the rule. */
  readonly manual: string;
  /** The outcome. */
  readonly status: Status;
  /**
   * The answer of the server and the expected one, the reason of a skip, or
   * what could not be cleaned up.
   */
  readonly reason?: string;
  /**
   * The messages of a case that failed or gave advice, in order, one line each.
   */
  readonly frames?: readonly string[];
  /**
   * `server ended at S73`: the server could not be reached any more after this
   * case.
   */
  readonly end?: string;
  /** Duration of the case in milliseconds. */
  readonly milliseconds: number;
}

/**
 * Files that some cases need, as paths below the root. The names given here are
 * the defaults. A case whose file is missing is skipped.
 */
export interface Fixtures {
  /**
   * `add`: a function that adds its arguments `a` and `b`, by position or by
   * name.
   */
  readonly add: string;
  /**
   * `measure`: a function that gives an object: the number of bytes of each
   * keyword argument, by its name.
   */
  readonly measure: string;
  /** `serial`: a function that gives another number at each call. */
  readonly serial: string;
  /**
   * `ticker`: a function that gives another number, and is called at every read
   * at offset 0.
   */
  readonly ticker: string;
  /** `fail`: a function that fails. */
  readonly fail: string;
  /** `exit`: a function that fails with the exit error. */
  readonly exit: string;
  /** `block`: a file whose read at offset 0 blocks until `release` is read. */
  readonly block: string;
  /**
   * `release`: a file whose read at offset 0 ends all reads that block at
   * `block`, with some bytes for each.
   */
  readonly release: string;
  /**
   * `cancelled`: a file that holds the number of reads of `block` that were
   * given up, in decimal digits.
   */
  readonly cancelled: string;
  /** `broken`: a file whose read meets a defect of the server's program. */
  readonly broken: string;
}

/** The user and the tree of an authentication. */
export interface AuthNames {
  /** User. */
  readonly uname: string;
  /** Tree. */
  readonly aname: string;
}

/** The authentication file. The exchange reads and writes it in turns. */
export interface AuthFile {
  /** Reads the next bytes of the server. */
  read(): Promise<Uint8Array>;
  /** Sends bytes to the server. */
  write(data: Uint8Array): Promise<void>;
}

/**
 * A server that requires authentication, for the cases about authentication.
 */
export interface AuthServer {
  /** Connects to that server; by default to the server under test. */
  readonly connect?: Connect;
  /** Runs the exchange until the server accepts it. */
  exchange(file: AuthFile, names: AuthNames): Promise<void>;
}

/** A server that a case may stop. */
export interface ExpendableServer {
  /** Connects to that server. */
  readonly connect: Connect;
  /**
   * Path of a function that stops the server, and fails with the exit error.
   */
  readonly stop: string;
}

/** The known limits of a server. */
export interface ServerLimits {
  /** Fids that a connection may have; 65536 by default. */
  readonly fids?: number;
  /** Requests that may be outstanding on a connection; 1024 by default. */
  readonly requests?: number;
  /**
   * Connections that may be open at a time. By default the limit is unknown and
   * not tested.
   */
  readonly connections?: number;
}

/**
 * Options of a run: which cases run, what they may use, and how strict they
 * are.
 */
export interface ConformanceOptions {
  /**
   * User who attaches; `glenda` by default. This user owns the files that the
   * cases make.
   */
  readonly uname?: string;
  /** Tree to attach to; empty by default. */
  readonly aname?: string;
  /**
   * Path below the root of a directory that the user may write in; the root
   * itself by default.
   */
  readonly dir?: string;
  /**
   * Two more users, for the cases about permissions; `bootes` and `rob` by
   * default. The first should be able to make files of a group that has the
   * same name as this user, and that no other user is a member of.
   */
  readonly users?: readonly [string, string];
  /**
   * Two groups of the server's user database that the first of `users` leads;
   * `uname` is a member of the first group. None by default: then the cases use
   * only the groups that have the names of the users.
   */
  readonly groups?: readonly [string, string];
  /** Ids of the cases to run, such as `S35`; all by default. */
  readonly only?: readonly string[];
  /** Ids of cases not to run; none by default. */
  readonly skip?: readonly string[];
  /**
   * True when only the answers of this library pass, its error texts included,
   * where the manual allows several answers. False by default: then every
   * legal answer passes, with any error text, and a broken rule that the manual
   * only recommends gives advice instead of a failure.
   */
  readonly strict?: boolean;
  /**
   * Longest time in milliseconds that a reply may take, 3000 by default; raise
   * it for a slow server. The kit derives all its other time limits from this
   * one.
   */
  readonly patience?: number;
  /**
   * Longest time in milliseconds that a case may take, ten times `patience` by
   * default, but at least 30000.
   */
  readonly timeout?: number;
  /**
   * Paths of the files that some cases need, where they differ from the names
   * of {@linkcode Fixtures}.
   */
  readonly files?: Partial<Fixtures>;
  /**
   * A server that requires authentication. By default the kit asks the server
   * under test whether it requires authentication.
   */
  readonly auth?: AuthServer;
  /**
   * Starts a server that a case may stop. Without this function the case leaves
   * that part out.
   */
  readonly expendable?: () => Promise<ExpendableServer>;
  /** Limits of the server. */
  readonly limits?: ServerLimits;
  /** Seed of the random messages, 1 by default. */
  readonly seed?: number;
  /**
   * Time in milliseconds of the case that sends random messages, 1000 by
   * default.
   */
  readonly randomTime?: number;
}
