// Connects clients to servers: dials, and sends Tversion and Tattach.

import {
  MSIZE_DEFAULT,
  MSIZE_MIN,
  NinePError,
  NOFID,
  NOTAG,
  ProtocolError,
} from "../codec.ts";
import { dial, type Target, type TlsOptions } from "../transport.ts";
import { connectionOf } from "../transport/target.ts";
import { Environment } from "./connection/environment.ts";
import { Client } from "./client.ts";
import { TreePaths } from "./trees/tree_paths.ts";
import { type Authenticate, login } from "./connection/login.ts";
import { RecoverableMux } from "./connection/recoverable_mux.ts";
import { Mux } from "./connection/mux.ts";
import { PYROUTE2, PYROUTE2_MSIZE, REGULAR } from "./connection/peer.ts";
import {
  type CallerOptions,
  checkRange,
  timed,
  TIMEOUT_MAX,
} from "./operation.ts";
import {
  ReconnectingSender,
  type ReconnectOptions,
  settingsOf,
} from "./connection/reconnect.ts";
import { ClientSession, WINDOW } from "./connection/client_session.ts";

/** Options of {@linkcode connect}. */
export interface ConnectOptions extends CallerOptions {
  /** User, `none` by default. */
  uname?: string | undefined;
  /**
   * Name of the server's tree; by default the empty name, that of its main
   * tree.
   */
  aname?: string | undefined;
  /**
   * Function that authenticates the user, before the attach and after each
   * restart of the session. Without this function, the client sends no Tauth.
   * See `attach(9P)`.
   */
  auth?: Authenticate | undefined;
  /** Largest message in bytes to ask for, 256 to 2^32 - 1; 1 MiB and 24 bytes by default. */
  msize?: number | undefined;
  /**
   * Most requests that are outstanding at once, 1 to 65534; 65534 by default,
   * which a server of this library accepts. Further requests wait in the
   * client, and an abort of a waiting request sends nothing. A Tflush does not
   * wait.
   */
  maxInFlight?: number | undefined;
  /**
   * Most bytes of file data that one transfer has in flight, 4096 to 2^30; 1
   * MiB by default. A transfer is a file that is read or written as a whole, or
   * a stream. A transfer uses at most eight requests at once, so msize limits
   * the bytes in flight as well.
   */
  window?: number | undefined;
  /**
   * Lowest number that the client uses for fids, 0 to 2^32 - 2; 0 by default.
   * The root gets this number, unless the user is authenticated: then the afid
   * gets this number and the root gets the next one.
   */
  fidBase?: number | undefined;
  /**
   * Kind of the server, if it differs from the manual. `pyroute2` is the 9P
   * server of the Python package of this name, in its module `plan9`. The
   * client then respects the limits of this server:
   *
   * - `msize` is 8192 by default, because the server cannot read a message that
   *   arrives in two pieces. `maxInFlight` is 1 by default, because after an
   *   error the server drops the other requests that arrived together with the
   *   failed one;
   * - `fidBase` is a random number by default, because all connections of the
   *   server share their fids;
   * - the client sends no Tflush. An aborted call rejects at once, and its late
   *   reply is dropped. The next call waits until the server has finished the
   *   aborted call. Closing the client while a call is pending ends the
   *   connection at once;
   * - the server may cut the records of a directory at any byte, so the client
   *   joins all data before it decodes them. The server truncates names that
   *   are not ASCII; if the rest is not valid UTF-8, the call rejects with a
   *   ProtocolError;
   * - arguments that are too long for a Tcall are a RangeError. They are not
   *   written in pieces, because each piece would replace the one before;
   * - the value of a function may be longer than msize, up to 64 MiB, because
   *   the server sends any value in one message.
   *
   * The server `pyroute2` has no Tcreate and no Tremove, and a Twstat changes
   * nothing there. After a Plan9Exit the server ends the connection, so the
   * call may reject with the ProtocolError of a lost connection instead of the
   * Plan9Exit.
   */
  peer?: "pyroute2" | undefined;
  /**
   * Connect again when the connection is lost, false by default.
   *
   * Trees, open files and other fids stay valid, with the same numbers, if
   * their paths still lead to the same files. The client repeats pending calls
   * that change nothing on the server. Other pending calls reject with a
   * ProtocolError, because the client cannot know whether the server has done
   * them. A call that is made while there is no connection waits for the next
   * one. Operations on a lost fid reject with the code `ESTALE`, but closing it
   * succeeds. A fid is lost if
   *
   * - the file was replaced, removed, or moved by another client; or has a
   *   lower version than before and was not written through the fid; or may not
   *   be opened by the user any more;
   * - the file is shorter than the part that was written or read through the
   *   fid, because a restarted server may give another file the same qid;
   * - the file is of exclusive use (DMEXCL), or was opened with ORCLOSE;
   * - something was written through the fid to a file that has no version (the
   *   `vers` of its qid is 0), because the server computes such a file and may
   *   have kept the data for the fid;
   * - the fid is open for reading and writing, something was written through
   *   it, and the file does not have these bytes any more. A server keeps the
   *   arguments and the value of a function for a fid, so a read could return
   *   the value of another user. Reads reject until the program writes through
   *   the fid again;
   * - the value of a function was read in part;
   * - the user of the fid was authenticated, unless the option `auth` did this
   *   for the tree of `connect()`;
   * - the fid is a directory that was read in part. The directory must be read
   *   again from its beginning, as `readDirNames()`, `copy()` and `remove()`
   *   do.
   *
   * Data of a stream that the server had already sent are lost. Locks and other
   * state that the server keeps for a connection are lost, too.
   *
   * When the client gives up, `closed` resolves, and all waiting calls reject
   * with the same error.
   */
  reconnect?: boolean | ReconnectOptions | undefined;
  /** Most milliseconds that closing the client waits for the server, 0 to 2^31 - 1; 3000 by default. */
  closeTimeout?: number | undefined;
  /**
   * Most milliseconds that connecting takes, and the default for all calls of
   * the client; above 0 and up to 2^31 - 1, or Infinity, the default.
   *
   * It limits a whole call, such as a `readFile()`, a `copy()` or a `remove()`.
   * For `readDir()` and `walkTree()`, which go at the pace of their caller, it
   * limits each request. It does not limit the streams of a file.
   */
  timeout?: number | undefined;
  /**
   * Certificates for an address with TLS. The client always checks the
   * certificate of the server; by default it trusts the authorities that the
   * runtime trusts.
   */
  tls?: TlsOptions | undefined;
}

/**
 * Connects to a server and gets the root of its tree: Tversion and Tattach, and
 * between them Tauth if there is an `auth`.
 *
 * @param target Address, such as `tcp://127.0.0.1:564`, `tcp!host!564`,
 *   `host:564`, `unix:///path`, `tls:`, `ws:` or `http:`, or a connection, which
 *   the client takes over.
 * @param options User, tree, msize, signal.
 * @returns The client.
 * @throws {NinePError} The server refused the user or the tree.
 * @throws {ProtocolError} There is no connection, or the peer does not speak
 *   9P2000.
 * @throws {RangeError} An option is out of its range.
 * @throws {TypeError} The target is neither an address nor a connection.
 *
 * @example A server in the same process
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { connect, MemoryFs, pair, serve } from "@ninep/ninep";
 *
 * const [near, far] = pair();
 * void serve(far, new MemoryFs({ motd: "hello\n" }));
 * await using client = await connect(near, { uname: "glenda" });
 * assertEquals(await client.readTextFile("motd"), "hello\n");
 * ```
 *
 * @example A server that asks for a word
 * ```ts
 * import { connect, type Handler, NinePError, pair, serve } from "@ninep/ninep";
 *
 * let word = "";
 * const handler: Handler = {
 *   auth: () => ({ qid: { type: 0x08, vers: 0, path: 1n } }),
 *   write: (_fid, { data }) => {
 *     word = new TextDecoder().decode(data);
 *   },
 *   attach: () => {
 *     if (word !== "friend") throw new NinePError("permission denied");
 *     return { qid: { type: 0x80, vers: 0, path: 0n } };
 *   },
 *   walk: () => undefined,
 *   open: () => {},
 * };
 * const [near, far] = pair();
 * void serve(far, handler);
 * await using client = await connect(near, {
 *   auth: async (file) => {
 *     await file.write(new TextEncoder().encode("friend"));
 *   },
 * });
 * ```
 */
export async function connect(
  target: string | Target,
  options: ConnectOptions = {},
): Promise<Client> {
  const given = typeof target === "string"
    ? undefined
    : connectionOf("connect to", target);
  const { uname = "none", aname = "", auth, closeTimeout = 3000 } = options;
  const kind: unknown = options.peer; // Of callers without types.
  const isPyroute2 = kind === "pyroute2";
  if (kind !== undefined && !isPyroute2) {
    throw new TypeError(`Cannot connect to a peer of kind ${kind}: pyroute2`);
  }
  const {
    msize = isPyroute2 ? PYROUTE2_MSIZE : MSIZE_DEFAULT,
    maxInFlight = isPyroute2 ? 1 : NOTAG - 1,
    fidBase = isPyroute2 ? Math.floor(Math.random() * 2 ** 31) : 0,
    window = WINDOW,
  } = options;
  const check = checkRange.bind(undefined, "connect");
  check("msize", msize, MSIZE_MIN, 0xffffffff);
  check("maxInFlight", maxInFlight, 1, NOTAG - 1);
  check("fidBase", fidBase, 0, NOFID - 1);
  check("closeTimeout", closeTimeout, 0, TIMEOUT_MAX);
  check("window", window, 4096, 2 ** 30);
  const { timeout, signal, tls, reconnect = false } = options;
  const settings = reconnect
    ? settingsOf(target, reconnect === true ? {} : reconnect, options)
    : undefined;
  const peer = given?.peer ?? target;
  const environment = new Environment();
  const { aborts } = environment;
  return await timed(
    { timeout, environment },
    signal,
    () => `connect to "${peer}"`,
    async (
      signal,
    ) => {
      const connection = given ?? await dial(`${target}`, { signal, tls });
      const traits = isPyroute2 ? PYROUTE2 : REGULAR;
      const sender = settings
        ? new ReconnectingSender(
          new RecoverableMux(connection, maxInFlight, traits, environment),
          {
            ...settings,
            fidBase,
            open: async (signal) =>
              new RecoverableMux(
                connectionOf("connect to", await settings.dial(signal)),
                maxInFlight,
                traits,
                environment,
              ),
            authOf: (user) =>
              user.uname === uname && user.aname === aname ? auth : undefined,
          },
        )
        : new Mux(connection, maxInFlight, traits, environment);
      const session = new ClientSession(sender, timeout, fidBase);
      session.window = window;
      const onAbort = () => sender.fail(signal?.reason);
      try {
        if (signal?.aborted) onAbort();
        else aborts.add(signal, onAbort);
        await sender.version(msize).catch((error) => {
          throw notStarted(error, sender.peer);
        });
        const user = { uname, aname, auth };
        const root = await login(session, user);
        const attempts = settings?.attempts ?? 1;
        const start = { msize, login: user, attempts, closeTimeout };
        return new Client(new TreePaths(session, root, aname), start);
      } catch (error) {
        sender.fail(error);
        await sender.ended;
        throw error;
      } finally {
        aborts.remove(signal, onAbort);
      }
    },
  );
}

/**
 * Adds the name of the peer to the error of a session that could not start,
 * unless the error already contains the name.
 */
function notStarted(error: unknown, peer: string): unknown {
  const isOurs = error instanceof NinePError || error instanceof ProtocolError;
  if (!isOurs || error.message.includes(`"${peer}"`)) return error;
  const message = `Cannot start a session with "${peer}": ${error.message}`;
  const { code } = error;
  if (error instanceof ProtocolError) {
    return new ProtocolError(message, { code, cause: error });
  }
  const { ename, request } = error;
  return new NinePError(ename, { code, message, request, cause: error });
}
