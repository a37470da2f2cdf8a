// The errors of the runtimes, as clients and the owner of a server get them.

import { assert, assertEquals, assertStrictEquals } from "@std/assert";
import { FunctionError, NinePError, ProtocolError } from "../../codec.ts";
import { enameOf } from "../../codec/error_table.ts";
import { systemError } from "../../codec/system_error.ts";
import {
  type ErrorContext,
  type FidNode,
  type Handler,
  serve,
} from "../../server.ts";
import { pair } from "../../transport.ts";
import { withFolder } from "../folder.ts";
import { test } from "../harness.ts";
import { soon, T, WireClient } from "./wire_client.ts";

/** Returns the error of a function. */
async function thrownBy(run: () => unknown): Promise<unknown> {
  try {
    await run();
  } catch (error) {
    return error;
  }
  throw new Error("nothing was thrown");
}

/** Failures of the files of a folder that has the file `f` and the full directory `d`. */
async function fileErrors(folder: string): Promise<[string, unknown][]> {
  const fs = await import("node:fs/promises");
  const path = (name: string) => `${folder}/${name}`;
  await fs.writeFile(path("f"), "x");
  await fs.mkdir(path("d"));
  await fs.writeFile(path("d/x"), "x");
  await fs.symlink("loop", path("loop")).catch(() => {});
  const closed = await fs.open(path("f"));
  await closed.close();
  const attempts: [string, () => unknown][] = [
    ["ENOENT", () => fs.open(path("missing"))],
    ["ENOENT", () => fs.readdir(path("missing/deeper"))],
    ["EEXIST", () => fs.mkdir(path("f"))],
    ["EEXIST", () => fs.open(path("f"), "wx")],
    ["ENOTEMPTY", () => fs.rmdir(path("d"))],
    ["ENOTDIR", () => fs.open(path("f/x"))],
    ["ENOTDIR", () => fs.rmdir(path("f"))],
    ["EISDIR", () => fs.readFile(path("d"))],
    ["EISDIR", () => fs.open(path("d"), "w")],
    ["ENAMETOOLONG", () => fs.open(path("n".repeat(256)))],
    ["EINVAL", () => fs.rename(path("d"), path("d/y"))],
    ["EBADF", () => closed.read(new Uint8Array(1), 0, 1, 0)],
  ];
  const errors: [string, unknown][] = [];
  for (const [code, run] of attempts) {
    errors.push([code, await thrownBy(run)]);
  }
  return errors;
}

test("systemError() knows the errors of node:fs in this runtime", async () => {
  await withFolder(async (folder) => {
    for (const [code, error] of await fileErrors(folder)) {
      const known = systemError(error);
      assertEquals(known?.code, code, String(error));
      assertStrictEquals(known?.cause, error);
      // The text is that of the code: a path of the host must not get out.
      assert(!known?.message.includes(folder), known?.message);
      assertEquals(known?.message, known?.ename);
    }
  });
});

test("systemError() knows the errors of the runtime's own files and sockets", async () => {
  if (!("Deno" in globalThis)) return;
  await withFolder(async (folder) => {
    await Deno.writeTextFile(`${folder}/f`, "x");
    await Deno.mkdir(`${folder}/d/e`, { recursive: true });
    const closed = await Deno.open(`${folder}/f`);
    closed.close();
    const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    const { port } = listener.addr;
    const attempts: [string, () => unknown][] = [
      ["ENOENT", () => Deno.open(`${folder}/missing`)],
      ["EEXIST", () => Deno.mkdir(`${folder}/f`)],
      ["ENOTDIR", () => Deno.open(`${folder}/f/x`)],
      ["EISDIR", () => Deno.readFile(`${folder}/d`)],
      ["ENOTEMPTY", () => Deno.remove(`${folder}/d`)],
      ["ENAMETOOLONG", () => Deno.stat(`${folder}/${"n".repeat(256)}`)],
      ["EADDRINUSE", () => Deno.listen({ hostname: "127.0.0.1", port })],
      ["EBADF", () => closed.read(new Uint8Array(1))],
    ];
    for (const [code, run] of attempts) {
      assertEquals(systemError(await thrownBy(run))?.code, code, code);
    }
    listener.close();
  });
});

test("systemError() knows the classes of Deno.errors that have no code", () => {
  const codes: Record<string, string> = {
    AddrInUse: "EADDRINUSE",
    AddrNotAvailable: "EADDRNOTAVAIL",
    AlreadyExists: "EEXIST",
    BadResource: "EBADF",
    BrokenPipe: "EPIPE",
    Busy: "EBUSY",
    ConnectionAborted: "ECONNABORTED",
    ConnectionRefused: "ECONNREFUSED",
    ConnectionReset: "ECONNRESET",
    FilesystemLoop: "ELOOP",
    Interrupted: "EINTR",
    IsADirectory: "EISDIR",
    NetworkUnreachable: "ENETUNREACH",
    NotADirectory: "ENOTDIR",
    NotCapable: "EACCES",
    NotConnected: "ENOTCONN",
    NotFound: "ENOENT",
    NotSupported: "EOPNOTSUPP",
    PermissionDenied: "EACCES",
    TimedOut: "ETIMEDOUT",
    WouldBlock: "EAGAIN",
  };
  // They blame data or a program: nothing that a client can act on.
  const unknown = ["Http", "InvalidData", "UnexpectedEof", "WriteZero"];
  for (const [name, code] of Object.entries(codes)) {
    const error = Object.assign(new Error("secret"), { name });
    assertEquals(systemError(error)?.code, code, name);
  }
  if (!("Deno" in globalThis)) return;
  for (const [name, Class] of Object.entries(Deno.errors)) {
    const known = systemError(new Class("secret"));
    assertEquals(known?.code, codes[name], name);
    assertEquals(known === undefined, unknown.includes(name), name);
  }
});

test("systemError() knows DOMExceptions by their names", () => {
  const names: [string, string | undefined][] = [
    ["NotFoundError", "ENOENT"],
    ["NotAllowedError", "EACCES"],
    ["SecurityError", "EACCES"],
    ["AbortError", "EINTR"],
    ["TimeoutError", "ETIMEDOUT"],
    ["QuotaExceededError", "EDQUOT"],
    ["NotSupportedError", "EOPNOTSUPP"],
    ["NoModificationAllowedError", "EBUSY"],
    ["InvalidModificationError", "ENOTEMPTY"],
    ["TypeMismatchError", "EINVAL"],
    ["ReadOnlyError", "EROFS"],
    ["SyntaxError", undefined],
    ["DataCloneError", undefined],
    ["InvalidStateError", undefined],
    ["Error", undefined],
    ["__proto__", undefined],
  ];
  for (const [name, code] of names) {
    const error = new DOMException("secret", name);
    assertEquals(systemError(error)?.code, code, name);
  }
});

test("systemError() knows what aborted signals throw", async () => {
  const { setTimeout } = await import("node:timers/promises");
  const signal = AbortSignal.abort();
  const byTimer = await thrownBy(() =>
    setTimeout(60_000, undefined, { signal })
  );
  for (const error of [signal.reason, byTimer]) {
    assertEquals(systemError(error)?.ename, "Interrupted system call");
  }
});

test("systemError() gives a text that says nothing about fids", () => {
  const texts: [string, string][] = [
    ["EAGAIN", "Resource temporarily unavailable"],
    ["EWOULDBLOCK", "Resource temporarily unavailable"],
    ["EBADF", "Bad file descriptor"],
    ["EPERM", "Operation not permitted"],
    ["EPROTO", "Protocol error"],
    ["ESPIPE", "Illegal seek"],
    ["ETXTBSY", "Text file busy"],
    ["ENOTSUP", "Operation not supported"],
    ["ENXIO", "No such device or address"],
    ["ELOOP", "Too many levels of symbolic links"],
    ["EIO", "i/o error"],
  ];
  for (const [code, ename] of texts) {
    const known = systemError(Object.assign(new Error("secret"), { code }));
    assertEquals(known?.ename, ename);
    // A client finds the same code by the text.
    assertEquals(known?.code, new NinePError(ename).code);
  }
});

test("systemError() takes nothing from other values", () => {
  const getters = {
    get code(): string {
      throw new Error("the getter of an error ran");
    },
    get name(): string {
      throw new Error("the getter of an error ran");
    },
  };
  class Derived extends Error {
    get code() {
      return "ENOENT";
    }
  }
  const values: unknown[] = [
    undefined,
    null,
    "ENOENT",
    2,
    Symbol("ENOENT"),
    new Error("ENOENT: no such file or directory"),
    new TypeError("no"),
    new Error("x", { cause: Object.assign(new Error(), { code: "ENOENT" }) }),
    new ProtocolError("x", { code: "ENOENT" }),
    { code: 2 },
    { code: "2", name: "constructor" },
    { code: "enoent" },
    { code: "ENOTFOUND" },
    { code: { toString: () => "ENOENT" } },
    { errno: -2 },
    getters,
    new Derived(),
    Object.create({
      __proto__: null,
      get code() {
        return "ENOENT";
      },
    }),
    () => {},
  ];
  for (const value of values) assertEquals(systemError(value), undefined);
});

/** Throws at whatever is done with it. */
function hostile(): object {
  const refuse = () => {
    throw new Error("a trap ran");
  };
  const { proxy } = Proxy.revocable({}, {});
  return new Proxy(proxy, {
    get: refuse,
    getOwnPropertyDescriptor: refuse,
    getPrototypeOf: refuse,
    has: refuse,
    ownKeys: refuse,
  });
}

test("systemError() takes nothing from a hostile Proxy", () => {
  assertEquals(systemError(hostile()), undefined);
  const { proxy, revoke } = Proxy.revocable(new Error(), {});
  revoke();
  assertEquals(systemError(proxy), undefined);
});

const root: FidNode & { path: string } = {
  qid: { type: 0x80, vers: 0, path: 0n },
  path: "/",
};

/** A server whose stat and open throw a given error. */
class Failing implements AsyncDisposable {
  /** The error to throw. */
  error: unknown;
  readonly told: [unknown, ErrorContext][] = [];
  readonly client: WireClient;
  readonly #served: Promise<void>;

  constructor(errors: "text" | "json" = "text") {
    const handler: Handler = {
      attach: () => root,
      walk: () => undefined,
      open: () => Promise.reject(this.error),
      stat: () => {
        throw this.error;
      },
    };
    const [near, far] = pair();
    this.client = new WireClient(near);
    this.#served = serve(far, handler, {
      errors,
      onError: (error, context) => this.told.push([error, context]),
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.client.close();
    await soon(this.#served);
  }
}

test("a client gets the text of a system's error, and the owner the error itself", async () => {
  await withFolder(async (folder) => {
    await using server = new Failing();
    const { client } = server;
    await client.start();
    for (const [code, error] of await fileErrors(folder)) {
      const ename = systemError(error)?.ename;
      assertEquals(new NinePError(ename ?? "").code, code);
      for (const request of [T.stat(1, 0), T.open(1, 0)]) {
        server.error = error;
        await client.ask(request, `Rerror 1 ${ename}`);
        const [told, context] = server.told.pop() ?? [];
        assertStrictEquals(told, error);
        assertEquals(context, {
          peer: "pair",
          request: request.type,
          uname: "u",
          path: "/",
          expected: true,
        });
      }
    }
    assertEquals(server.told, []);
  });
});

test("an error of a disk is logged, for its text tells the client nothing", async () => {
  await using server = new Failing();
  await server.client.start();
  server.error = Object.assign(new Error("sector 5"), { code: "EIO" });
  await server.client.ask(T.stat(1, 0), "Rerror 1 i/o error");
  const [told, context] = server.told[0] ?? [];
  assertStrictEquals(told, server.error);
  assertEquals([context?.path, context?.expected], ["/", undefined]);
});

test("an unknown error is `i/o error`, and the owner gets it with its stack and path", async () => {
  await using server = new Failing();
  await server.client.start();
  const unknown: unknown[] = [
    new Error("ENOENT"),
    new ProtocolError("far end", { code: "ECONNRESET" }),
    new Error("x", { cause: new NinePError("permission denied") }),
    "a text",
    undefined,
    null,
    Symbol("s"),
  ];
  for (const error of unknown) {
    server.error = error;
    await server.client.ask(T.open(1, 0), "Rerror 1 i/o error");
    const [told, context] = server.told.pop() ?? [];
    assertStrictEquals(told, error);
    assertEquals([context?.path, context?.expected], ["/", undefined]);
  }
});

test("an error that cannot be examined costs only its request", async () => {
  const textless = new NinePError("permission denied");
  Object.defineProperty(textless, "ename", { value: undefined });
  const strless = new FunctionError({ class: "X", argv: [], str: "x" });
  Object.defineProperty(strless, "str", { value: 5 });
  const argvless = new FunctionError({ class: "X", argv: [], str: "x" });
  Object.defineProperty(argvless, "argv", { value: null });
  for (const form of ["text", "json"] as const) {
    await using server = new Failing(form);
    const { client } = server;
    await client.start();
    for (const error of [hostile(), textless, strless, argvless]) {
      for (const request of [T.stat(1, 0), T.open(1, 0)]) {
        server.error = error;
        assertEquals((await client.rpc(request)).type, "Rerror");
      }
    }
    // The session goes on, with the fid as it was.
    server.error = new NinePError("permission denied");
    const reply = await client.rpc(T.stat(1, 0));
    assert(reply.type === "Rerror" && reply.ename.includes("permission"));
  }
});

test("a system's error behind the first name of a walk ends the walk there", async () => {
  const told: [unknown, ErrorContext][] = [];
  let error: unknown;
  const handler: Handler = {
    attach: () => root,
    walk: (_node, name) => {
      if (name === "sync") throw error;
      if (name === "late") return Promise.reject(error);
      return { qid: { type: 0x80, vers: 0, path: 7n } };
    },
    open: () => {},
  };
  const [near, far] = pair();
  const served = serve(far, handler, {
    onError: (error, context) => told.push([error, context]),
  });
  const client = new WireClient(near);
  await client.start();
  for (const name of ["sync", "late"]) {
    error = Object.assign(new Error("x"), { code: "ENOENT" });
    await client.ask(T.walk(1, 0, 1, "d", name), "Rwalk 1 7");
    await client.ask(T.walk(1, 0, 1, name), "Rerror 1 file does not exist");
    assertEquals(told.map(([, { expected }]) => expected), [true, true]);
    assertStrictEquals(told[0]?.[0], error);
    told.length = 0;
    // Nobody knows what an unknown error leaves behind.
    error = new Error("x");
    await client.ask(T.walk(1, 0, 1, "d", name), "Rerror 1 i/o error");
    assertEquals(told.splice(0).length, 1);
    error = hostile();
    await client.ask(T.walk(1, 0, 1, "d", name), "Rerror 1 i/o error");
    assertEquals(told.splice(0).length, 1);
  }
  client.close();
  await soon(served);
});

test("a system error is sent in JSON with its number on Linux", async () => {
  await using server = new Failing("json");
  await server.client.start();
  const rows: [string, string, number][] = [
    ["ENOENT", "FileNotFoundError", 2],
    ["ELOOP", "OSError", 40],
    ["ESTALE", "OSError", 116],
  ];
  for (const [code, name, errno] of rows) {
    server.error = Object.assign(new Error("secret"), { code });
    const reply = await server.client.rpc(T.stat(1, 0));
    assert(reply.type === "Rerror");
    const str = enameOf(code);
    assertEquals(JSON.parse(reply.ename), {
      class: name,
      argv: [errno, str],
      str,
    });
  }
});
