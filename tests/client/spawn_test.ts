// P-05: a client of a program that serves on its standard input and output.

import { assert, assertEquals, assertRejects } from "@std/assert";
import process from "node:process";
import {
  dial,
  NinePError,
  ProtocolError,
  spawn,
  type SpawnOptions,
} from "../../mod.ts";
import { listen } from "../../transport.ts";
import { test } from "../harness.ts";

const CHILD = "examples/spawn.ts";

/** Arguments for this runtime to run a script. */
function script(name: string, ...args: string[]): string[] {
  const flags = "Deno" in globalThis
    ? ["run", "--quiet", "--no-prompt", "--allow-net=127.0.0.1", "--allow-run"]
    : [];
  return [...flags, name, ...args];
}

function spawnChild(options: SpawnOptions = {}) {
  const quiet = { stderr: "null", ...options } as const;
  return spawn(process.execPath, script(CHILD, "child"), quiet);
}

/** A client of a child with a function `kill`, which kills the child. */
function spawnKillable(options: SpawnOptions = {}) {
  return spawn(
    process.execPath,
    script("tests/client/killable.ts"),
    { stderr: "null", ...options },
  );
}

test("spawn(): more than a pipe takes goes both ways at once", async () => {
  await using client = await spawnChild();
  assertEquals(await client.readTextFile("motd"), "hello from the child\n");
  assertEquals(await client.call("add", { argv: [17, 25] }), 42);
  await assertRejects(() => client.readFile("none"), NinePError);
  const data = Uint8Array.from({ length: 4 << 20 }, (_, i) => i % 251);
  await client.writeFile("one", data);
  const [read] = await Promise.all([
    client.readFile("one"),
    client.writeFile("two", data),
  ]);
  assertEquals(read, data);
  assertEquals(await client.readFile("two"), data);
});

test("spawn(): a program that does not exist", async () => {
  const error = await assertRejects(
    () => spawn("/nonexistent/program"),
    ProtocolError,
    'Cannot start "/nonexistent/program"',
  );
  assertEquals(error.code, "ENOENT");
});

test("spawn(): a program that ends without a word", async () => {
  await assertRejects(
    () => spawn("sh", ["-c", "exit 3"]),
    ProtocolError,
    'Connection to "sh" lost: the child ended with code 3',
  );
});

test("spawn(): a program that prints text", async () => {
  const error = await assertRejects(
    () => spawn("sh", ["-c", "echo listening on port 80; cat >/dev/null"]),
    ProtocolError,
  );
  assert(error.message.includes("text"), error.message);
});

test("spawn(): the environment and the directory are the child's", async () => {
  const command = 'test "$NINEP_TEST" = yes && test "$PWD" = / && exit 5';
  await assertRejects(
    () =>
      spawn("sh", ["-c", command], { cwd: "/", env: { NINEP_TEST: "yes" } }),
    ProtocolError,
    "ended with code 5",
  );
});

test("spawn(): a child that is killed ends the calls", async () => {
  await using client = await spawnKillable();
  await assertRejects(
    () => client.call("kill"),
    ProtocolError,
    "lost: the child was ended by SIGKILL",
  );
});

test("spawn(): an abort ends the child", async () => {
  const listener = await listen("tcp://127.0.0.1:0");
  const port = listener.addr.split(":").at(-1) ?? "";
  const abort = new AbortController();
  const spawned = spawn(
    process.execPath,
    script("tests/client/stubborn.ts", port),
    { signal: abort.signal },
  );
  const { value: held } = await listener[Symbol.asyncIterator]().next();
  assert(held);
  abort.abort(new Error("enough"));
  await assertRejects(() => spawned, Error, "enough");
  // The child ignores the end of its input and SIGTERM.
  assertEquals(await held.read?.(new Uint8Array(1)).catch(() => null), null);
  held.close();
  listener.close();
});

test("spawn(): with reconnect, the program starts again", async () => {
  await using client = await spawnKillable({ reconnect: { minDelay: 0 } });
  await client.writeTextFile("note", "first");
  await assertRejects(() => client.call("kill"), ProtocolError);
  await assertRejects(() => client.readFile("note"), NinePError);
  assertEquals(await client.readTextFile("motd"), "hello\n");
});

test("stdio: has no other end in this process", async () => {
  await assertRejects(() => dial("stdio:x"), TypeError, "behind stdio:");
});
