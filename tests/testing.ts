/**
 * A fixture for tests of programs that use a 9P client: a server and a client
 * in one process, joined in memory, closed whatever the test does.
 *
 * @example In a test
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { withTestServer } from "@ninep/ninep/testing";
 *
 * await withTestServer(async ({ client, fs }) => {
 *   await client.writeTextFile("data", "changed");
 *   assertEquals(fs.readTextFile("data"), "changed");
 * });
 * ```
 *
 * @module
 */

import {
  type Client,
  connect,
  type ConnectOptions,
  type Handler,
  MemoryFs,
  pair,
  type Servable,
  serve,
  type ServeOptions,
} from "../mod.ts";

/** What a test gets from {@linkcode withTestServer}. */
export interface TestServer<Served = MemoryFs> {
  /** A client of the server. */
  readonly client: Client;
  /** What is served, to be looked at and changed from the server's side. */
  readonly fs: Served;
}

/** Options of {@linkcode withTestServer}. */
export interface TestServerOptions<Served = MemoryFs> {
  /** Tree or handler to serve instead. */
  fs?: Served | undefined;
  /** Options of the client. */
  connect?: ConnectOptions | undefined;
  /** Options of the server. */
  serve?: ServeOptions | undefined;
}

/**
 * Runs a test with a server and a client of it. Both are closed when it is
 * done, also after an error.
 *
 * Served is a MemoryFs in which everyone may make files, with two of them:
 * `data`, which holds `hello\n` and which everyone may write; and `time`, whose
 * every read calls a function that gives the milliseconds since 1970.
 *
 * @param test The test.
 * @param options What to serve instead, options of client and server.
 * @returns What the test gives.
 *
 * @example A tree of one's own
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { MemoryFs } from "@ninep/ninep";
 * import { withTestServer } from "@ninep/ninep/testing";
 *
 * const fs = new MemoryFs();
 * fs.register("add", (a: number, b: number) => a + b);
 * const sum = await withTestServer(
 *   ({ client }) => client.call("add", { argv: [17, 25] }),
 *   { fs, connect: { uname: "glenda" } },
 * );
 * assertEquals(sum, 42);
 * ```
 */
export async function withTestServer<
  T,
  Served extends Handler | Servable = MemoryFs,
>(
  test: (server: TestServer<Served>) => T | Promise<T>,
  options: TestServerOptions<Served> = {},
): Promise<T> {
  // Where none is given, nobody has said that it is anything else.
  const fs = options.fs ?? testTree() as Handler | Servable as Served;
  const [here, there] = pair();
  const served = serve(there, fs, options.serve);
  served.catch(() => {}); // It is told below.
  try {
    const client = await connect(here, options.connect);
    try {
      return await test({ client, fs });
    } finally {
      await client.close();
    }
  } finally {
    await served;
  }
}

function testTree(): MemoryFs {
  const fs = new MemoryFs({}, { mode: 0o777 });
  fs.create("data", { mode: 0o666, data: "hello\n" });
  fs.register("time", () => Date.now(), { callOnRead: true });
  return fs;
}
