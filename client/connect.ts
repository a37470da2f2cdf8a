// How a client begins: a connection, Tversion, Tattach.

import { MSIZE_DEFAULT, MSIZE_MIN, NOTAG } from "../codec/constants.ts";
import { openChannel } from "../transport/channel.ts";
import type { Connection } from "../transport/connection.ts";
import { dial } from "../transport/dial.ts";
import { Client } from "./client.ts";
import { Mux } from "./mux.ts";
import { type CallerOptions, explained } from "./operation.ts";
import { Session } from "./session.ts";
import { Paths } from "./paths.ts";

/** Options of {@linkcode connect}. */
export interface ConnectOptions extends CallerOptions {
  /** User, `none` by default. */
  uname?: string | undefined;
  /** Tree of the server; the empty text, its main one, by default. */
  aname?: string | undefined;
  /** Largest message in bytes to ask for, 256 to 2^32 - 1; 1 MiB and 24 bytes by default. */
  msize?: number | undefined;
  /** Most requests that are outstanding at once, 1 to 65534, the default. */
  maxInFlight?: number | undefined;
  /** Most milliseconds that closing the client waits for the server, 3000 by default. */
  closeTimeout?: number | undefined;
  /** Most milliseconds that connecting takes, and the default for all calls of the client; any time by default. */
  timeout?: number | undefined;
}

/**
 * Connects to a server and gets the root of its tree: Tversion and Tattach.
 *
 * @param target Address, such as `tcp://127.0.0.1:564`, `tcp!host!564`,
 *   `host:564` or `unix:///path`, or a connection, which the client takes over.
 * @param options User, tree, msize, signal.
 * @returns The client.
 * @throws {NinePError} The server refused the user or the tree.
 * @throws {ProtocolError} There is no connection, or the peer does not speak
 *   9P2000.
 * @throws {RangeError} An option is out of its range.
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
 */
export async function connect(
  target: string | Connection,
  options: ConnectOptions = {},
): Promise<Client> {
  const { uname = "none", aname = "", msize = MSIZE_DEFAULT, signal } = options;
  const { maxInFlight = NOTAG - 1 } = options;
  check("msize", msize, MSIZE_MIN, 0xffffffff);
  check("maxInFlight", maxInFlight, 1, NOTAG - 1);
  const connection = typeof target === "string"
    ? await dial(target, { signal })
    : target;
  const mux = new Mux(openChannel(connection), maxInFlight);
  const session = new Session(mux, options.timeout);
  const onAbort = () => mux.fail(signal?.reason);
  signal?.addEventListener("abort", onAbort, { once: true });
  try {
    if (signal?.aborted) onAbort();
    await mux.version(msize);
    const what = `user "${uname}" to tree "${aname}" of`;
    const root = await explained(
      `attach ${what}`,
      connection.peer,
      () => session.attach(uname, aname),
    );
    return new Client(new Paths(session, root), options.closeTimeout);
  } catch (error) {
    mux.fail(error);
    await mux.ended;
    throw error;
  } finally {
    signal?.removeEventListener("abort", onAbort);
  }
}

function check(name: string, value: number, least: number, most: number): void {
  if (Number.isInteger(value) && value >= least && value <= most) return;
  throw new RangeError(
    `Cannot connect: ${name} is ${value}, the range is ${least} to ${most}`,
  );
}
