// spawn(): a child process, and a client of the tree that the child serves.

import type { ChildOptions } from "../transport.ts";
import { startChild } from "../transport/child.ts";
import type { Client } from "./client.ts";
import { connect, type ConnectOptions } from "./connect.ts";

/** Options of {@linkcode spawn}. */
export interface SpawnOptions extends ConnectOptions, ChildOptions {}

/**
 * Starts a program that serves a tree on its standard input and output, and
 * returns a client of that tree.
 *
 * Closing the client ends the program, and waits for its end: the program sees
 * the end of its input, gets SIGTERM after 3 seconds, and SIGKILL after 3 more. With `reconnect`, the
 * client starts the program again when the program ends. A server of this
 * library listens on `stdio:`.
 *
 * @param command Name or path of the program.
 * @param args Arguments of the program.
 * @param options Directory, environment and standard error of the program, and
 *   the options of {@linkcode connect}.
 * @returns The client.
 * @throws {NinePError} The server refused the user or the tree.
 * @throws {ProtocolError} The program cannot be started (`code` is `ENOENT`,
 *   `EACCES`, `ENOTCAPABLE` …), has ended, or does not speak 9P2000.
 * @throws {RangeError} An option is out of its range.
 *
 * @example A program that serves on its standard input and output
 * ```ts ignore
 * import { spawn } from "@ninep/ninep";
 *
 * await using client = await spawn("deno", ["run", "child.ts"]);
 * console.log(await client.call("shout", { argv: ["hello"] }));
 * ```
 */
export async function spawn(
  command: string,
  args: readonly string[] = [],
  options: SpawnOptions = {},
): Promise<Client> {
  const { signal, reconnect } = options;
  signal?.throwIfAborted();
  const dial = () => startChild(command, args, options);
  const settings = reconnect === true ? {} : reconnect;
  const connection = await dial();
  try {
    return await connect(connection, {
      ...options,
      reconnect: settings && { dial, ...settings },
    });
  } catch (error) {
    connection.close();
    await connection.closed;
    throw error;
  }
}
