// The public types of the kit: cases, options, results.

import type { Connection } from "../../transport.ts";

/** Opens a new connection to the server under test. */
export type Connect = () => Connection | Promise<Connection>;

/** One line of the checklist: a rule for servers, and a function that tests it. */
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
   * @param options What the case may use, and demand.
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
  /** The answer of the server and the expected one, the reason of a skip, or what could not be cleaned up. */
  readonly reason?: string;
  /** The messages of a case that failed or gave advice, in order, one line each. */
  readonly frames?: readonly string[];
  /** `server ended at S73`: the server could not be reached any more after this case. */
  readonly end?: string;
  /** Duration of the case in milliseconds. */
  readonly milliseconds: number;
}

/**
 * Files that some cases need, as paths below the root. The names given here are
 * the defaults. A case whose file is missing is skipped.
 */
export interface Fixtures {
  /** `add`: a function that adds its arguments `a` and `b`, by position or by name. */
  readonly add: string;
  /** `measure`: a function that gives an object: the number of bytes of each keyword argument, by its name. */
  readonly measure: string;
  /** `serial`: a function that gives another number at each call. */
  readonly serial: string;
  /** `ticker`: the same, called at every read at offset 0. */
  readonly ticker: string;
  /** `fail`: a function that fails. */
  readonly fail: string;
  /** `exit`: a function that fails with the exit error. */
  readonly exit: string;
  /** `block`: a file whose read at offset 0 blocks until `release` is read. */
  readonly block: string;
  /** `release`: a file whose read at offset 0 ends all reads that block at `block`, with some bytes for each. */
  readonly release: string;
  /** `cancelled`: a file that holds the number of reads of `block` that were given up, in decimal digits. */
  readonly cancelled: string;
  /** `broken`: a file whose read meets a defect of the server's program. */
  readonly broken: string;
}

/** Names of an authentication. */
export interface AuthNames {
  /** User. */
  readonly uname: string;
  /** Tree. */
  readonly aname: string;
}

/** The file of an authentication, to read and write in turns. */
export interface AuthFile {
  /** Reads what the server says next. */
  read(): Promise<Uint8Array>;
  /** Tells the server something. */
  write(data: Uint8Array): Promise<void>;
}

/** A server that wants an authentication, for the cases about that. */
export interface AuthServer {
  /** How to connect to it; as to the server that is judged, by default. */
  readonly connect?: Connect;
  /** Makes the exchange until the server is satisfied. */
  exchange(file: AuthFile, names: AuthNames): Promise<void>;
}

/** A server that a case may stop. */
export interface ExpendableServer {
  /** How to connect to it. */
  readonly connect: Connect;
  /** Path of a function that stops it, and fails with the exit error. */
  readonly stop: string;
}

/** What is known of a server's limits. */
export interface ServerLimits {
  /** Fids that a connection may have; 65536 by default. */
  readonly fids?: number;
  /** Requests that may be outstanding on a connection; 1024 by default. */
  readonly requests?: number;
  /** Connections at a time; unknown by default, and then not tried. */
  readonly connections?: number;
}

/** What the cases may use, and what they demand. */
export interface ConformanceOptions {
  /** User who attaches; `glenda` by default. It owns what the cases make. */
  readonly uname?: string;
  /** Tree to attach to; empty by default. */
  readonly aname?: string;
  /** Path below the root of a directory that the user may write in; the root itself by default. */
  readonly dir?: string;
  /**
   * Two more users, for the cases about permissions; `bootes` and `rob` by
   * default. The first should be able to make files that belong to a group
   * of its own name, in which the others are not.
   */
  readonly users?: readonly [string, string];
  /**
   * Two groups of the server's user database that the first of `users` leads;
   * `uname` is a member of the first. None by default: then only the groups
   * of the users' own names are tried.
   */
  readonly groups?: readonly [string, string];
  /** Ids of the cases to run, such as `S35`; all by default. */
  readonly only?: readonly string[];
  /** Ids of cases not to run; none by default. */
  readonly skip?: readonly string[];
  /**
   * Take only the answers of this library, its error texts included, where the
   * checklist lets servers choose. False by default: then every right answer
   * passes, any text of an error too, and cases that the manual does not demand
   * give advice where they would fail.
   */
  readonly strict?: boolean;
  /**
   * Longest time in milliseconds that a reply may take, 3000 by default; more
   * for a slow server. All other waits of the kit follow from it.
   */
  readonly patience?: number;
  /** Longest time in milliseconds that a case may take, ten times `patience` by default, but at least 30000. */
  readonly timeout?: number;
  /** Paths of the files that some cases need, where they are not the names that {@linkcode Fixtures} tells. */
  readonly files?: Partial<Fixtures>;
  /** A server that wants an authentication; by default the judged one is asked whether it does. */
  readonly auth?: AuthServer;
  /** Starts a server that a case may stop; that part of its case is left out by default. */
  readonly expendable?: () => Promise<ExpendableServer>;
  /** Limits of the server. */
  readonly limits?: ServerLimits;
  /** Number that the random messages come from, 1 by default. */
  readonly seed?: number;
  /** Time in milliseconds of the case that sends random messages, 1000 by default. */
  readonly randomTime?: number;
}
