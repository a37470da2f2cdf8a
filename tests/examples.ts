// The examples that work with a server, as a user runs them: with the command
// of their head, which names the least rights, against examples/memory_server.ts.
//
//     deno run -A tests/examples.ts
//     bun tests/examples.ts

import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import { readFile, writeFile } from "node:fs/promises";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { connect, listen, MemoryFs, NinePError } from "../mod.ts";
import { type Child, firstLine, run, start } from "./child.ts";
import { override } from "./kit/host.ts";
import { withFolder } from "./folder.ts";

const root = fileURLToPath(new URL("../", import.meta.url));
const encoder = new TextEncoder();
const decoder = new TextDecoder();
const EMPTY = new Uint8Array(0);
/** The processes that were started, to be stopped if a check fails. */
const children: Child[] = [];

const isDeno = "Deno" in globalThis;

/** The command of an example: the words of its head, up to its name. */
async function argsOf(example: string): Promise<string[]> {
  const script = `examples/${example}.ts`;
  const text = await readFile(root + script, "utf8");
  const head = isDeno ? /^ \* {5}deno run (.*?)\S+\.ts/m : /^ \* {5}bun ()\S/m;
  const match = text.match(head);
  assert(match, `${script} does not say how it is run`);
  const flags = (match[1] ?? "").split(" ").filter((word) => word !== "");
  const run = isDeno ? ["run", "--quiet", "--no-prompt"] : [];
  return [...run, ...flags, root + script];
}

/** Runs an example to its end. */
async function runExample(
  example: string,
  words: string[],
  input?: Uint8Array<ArrayBuffer>,
): Promise<
  { code: number; output: string; bytes: Uint8Array; errors: string }
> {
  const args = [...await argsOf(example), ...words];
  const ended = await run(process.execPath, args, input);
  return { ...ended, output: decoder.decode(ended.bytes) };
}

/**
 * Returns the output of an example, which must succeed and print nothing on the
 * standard error.
 */
async function outputOf(example: string, ...words: string[]): Promise<string> {
  const { code, output, errors } = await runExample(example, words);
  assertEquals({ code, errors }, { code: 0, errors: "" }, example);
  return output;
}

/** Not by assertEquals(), which would print them. */
function assertSameBytes(actual: Uint8Array, expected: Uint8Array): void {
  const at = expected.findIndex((byte, i) => actual[i] !== byte);
  assertEquals([actual.length, at], [expected.length, -1], "bytes differ");
}

/** Starts an example that goes on. */
async function startExample(
  example: string,
  ...words: string[]
): Promise<Child> {
  const child = start(process.execPath, [...await argsOf(example), ...words]);
  children.push(child);
  return child;
}

/** Starts an example that serves, on a free port. */
async function startServer(
  example = "memory_server",
): Promise<{ server: Child; address: string }> {
  const server = await startExample(example, "tcp://127.0.0.1:0");
  const ready = await firstLine(server);
  assertMatch(ready, /^listening on tcp:/);
  return { server, address: ready.slice("listening on ".length) };
}

/** Reads on until a text has come, and gives all up to there. */
async function readUntil(
  reader: ReadableStreamDefaultReader<string>,
  end: string,
): Promise<string> {
  let text = "";
  while (!text.endsWith(end)) {
    const { done, value } = await reader.read();
    assert(!done, `it ended after ${JSON.stringify(text)}`);
    text += value;
  }
  return text;
}

const { server, address } = await startServer();
const client = await connect(address);
const large = Uint8Array.from({ length: 5_000_000 }, (_, i) => i % 251);

/** The checks, by the examples that they are for. */
const checks: Record<string, () => Promise<void>> = {
  async put() {
    const sizes = { large, small: encoder.encode("hello\n"), empty: EMPTY };
    for (const [name, data] of Object.entries(sizes)) {
      // Once to make the file, once to replace it.
      for (let i = 0; i < 2; i++) {
        const words = [address, name];
        const { code, output, errors } = await runExample("put", words, data);
        const line = `"${name}" has ${data.length} bytes\n`;
        assertEquals([code, output, errors], [0, "", line]);
        assertSameBytes(await client.readFile(name), data);
      }
    }
  },

  async ls() {
    await client.mkdir("dir", { mode: 0o750 });
    const lines = (await outputOf("ls", address)).trimEnd().split("\n");
    assertEquals(lines.length, 5);
    const line = lines.find((line) => line.endsWith(" small")) ?? "";
    const time = "[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}";
    assertMatch(line, new RegExp(`^-rw-rw-rw- none sys +6 ${time} small$`));
    assertMatch(lines.join("\n"), /^drwxr-x--- .* dir$/m);
    assertEquals(await outputOf("ls", address, "dir"), "");
  },

  async cat() {
    const words = [address, "large", "empty", "small"];
    const { code, bytes, errors } = await runExample("cat", words);
    assertEquals({ code, errors }, { code: 0, errors: "" });
    assertSameBytes(bytes.subarray(0, large.length), large);
    assertEquals(decoder.decode(bytes.subarray(large.length)), "hello\n");
  },

  async tail() {
    await client.writeTextFile("log", "one\n");
    const child = await startExample("tail", address, "log");
    const reader = child.output.getReader();
    assertEquals(await readUntil(reader, "\n"), "one\n");
    for (const line of ["two\n", "three\n"]) {
      await client.writeTextFile("log", line, { append: true });
      assertEquals(await readUntil(reader, "\n"), line);
    }
    child.kill("SIGINT");
    assertEquals(await child.ended, 0);
    assertEquals((await reader.read()).done, true);
  },

  async "tail of events"() {
    const given = Promise.withResolvers<void>();
    let reads = 0;
    const fs = new MemoryFs();
    fs.define("events", {
      async read(_request, { signal }) {
        if (reads++ === 0) return encoder.encode("event\n");
        // The next one never comes.
        signal.addEventListener("abort", () => given.resolve());
        await given.promise;
        throw signal.reason;
      },
    });
    await using events = await listen("tcp://127.0.0.1:0", fs);
    const child = await startExample("tail", events.addr, "events");
    const reader = child.output.getReader();
    assertEquals(await readUntil(reader, "\n"), "event\n");
    child.kill("SIGINT");
    await given.promise;
    assertEquals(await child.ended, 0);
    assertEquals((await reader.read()).done, true);
  },

  async copy_tree() {
    const { server: other, address: to } = await startServer();
    await client.mkdir("tree/sub", { recursive: true });
    await client.writeTextFile("tree/a", "a");
    await client.writeFile("tree/sub/b", large);
    await client.writeFile("tree/sub/c", "");
    const words = [address, "tree", to, "copy"];
    const lines = (await outputOf("copy_tree", ...words)).split("\n");
    assertEquals(lines.slice(0, 3).sort(), [
      "tree/a: 1 bytes",
      "tree/sub/b: 5000000 bytes",
      "tree/sub/c: 0 bytes",
    ]);
    assertEquals(lines.slice(3), ["files: 3, bytes: 5000001", ""]);
    const copied = await connect(to);
    assertEquals(await copied.readTextFile("copy/a"), "a");
    assertSameBytes(await copied.readFile("copy/sub/b"), large);
    assertEquals((await copied.stat("copy/sub/c")).length, 0);
    await copied.close();
    other.kill();
    assertEquals(await other.ended, 0);
  },

  async rpc() {
    const output = await outputOf("rpc", address, "small");
    const types = output.match(/^(->|<-) [TR][a-z]+/gm);
    assertEquals(types, [
      ...["-> Twalk", "<- Rwalk", "-> Tstat", "<- Rstat"],
      ...["-> Topen", "<- Ropen", "-> Tread", "<- Rread"],
    ]);
  },

  async cancel() {
    const lines = (await outputOf("cancel")).trimEnd().split("\n");
    assertEquals(lines.length, 5);
    const gaveUp = lines.filter((line) => line.startsWith("server: "));
    assertEquals(gaveUp, Array(2).fill("server: the caller has given up"));
    assertEquals(lines.at(-1), 'client: motd is "hello\\n"');
  },

  async reconnect() {
    assertEquals((await outputOf("reconnect")).trimEnd().split("\n"), [
      "before: roses are red",
      "the server is gone",
      "the server is back",
      "after: violets are blue",
      "now: sugar is sweet",
    ]);
  },

  async union() {
    const output = await outputOf("union");
    const lines = output.trimEnd().split("\n");
    assertEquals(lines.slice(-3), [
      "the tree below still has: etc motd",
      "the scratch tree has: .wh.motd etc note",
      "and in etc: .wh.group hosts",
    ]);
    assertEquals(lines.slice(lines.indexOf("after:"), -3), [
      ...["after:", "  / 0", "  /etc 0", "  /etc/hosts 34", "  /note 4"],
    ]);
  },

  async sqlite() {
    await withFolder(async (folder) => {
      const database = `${folder}/files.db`;
      // The files are there for the next server, too.
      for (const isFirst of [true, false]) {
        const words = [database, "tcp://127.0.0.1:0"];
        const server = await startExample("sqlite", ...words);
        const ready = await firstLine(server);
        assertMatch(ready, /^listening on tcp:/);
        const client = await connect(ready.slice("listening on ".length));
        if (isFirst) {
          await client.writeFile("large", large.subarray(0, 200_000));
          await client.writeTextFile("note", "hello");
          await client.writeTextFile("note", "HE");
          await client.writeTextFile("gone", "x");
          await using open = await client.open("gone");
          await client.remove("gone");
          assertEquals(await open.read(new Uint8Array(8)), 1);
        }
        assertEquals(await client.readTextFile("note"), "HE");
        assertSameBytes(
          await client.readFile("large"),
          large.subarray(0, 200_000),
        );
        const names: string[] = [];
        for await (const { name, length } of client.readDir("/")) {
          names.push(`${name} ${length}`);
        }
        assertEquals(names, ["large 200000", "note 2"]);
        await assertRejects(() => client.mkdir("dir"), NinePError);
        await client.close();
        server.kill();
        await server.ended;
      }
    });
  },

  async serve_dir() {
    await withFolder(async (folder) => {
      await writeFile(`${folder}/note`, "hello\n");
      const any = "tcp://127.0.0.1:0";
      for (const flags of [[], ["--write"]]) {
        const server = await startExample("serve_dir", folder, any, ...flags);
        const ready = await firstLine(server);
        assertMatch(ready, / at tcp:/);
        await using client = await connect(ready.split(" at ")[1] ?? "");
        assertEquals(await client.readTextFile("note"), "hello\n");
        const written = client.writeTextFile("new", "text");
        if (flags.length > 0) await written;
        else await assertRejects(() => written, NinePError, "read only");
        server.kill();
        assertEquals(await server.ended, 0);
      }
      assertEquals(await readFile(`${folder}/new`, "utf8"), "text");
      const none = await runExample("serve_dir", [`${folder}/none`, any]);
      assertEquals(none.code, 1);
      assertMatch(none.errors, /^Cannot serve ".*none": there is no such dir/);
      assertEquals((await runExample("serve_dir", [])).code, 2);
    });
  },

  async jobs() {
    const { server, address } = await startServer("jobs");
    const one = await connect(address, { uname: "glenda" });
    const two = await connect(address, { uname: "rob" });
    const ctl = await one.open("jobs/clone", { read: true, write: true });
    await ctl.write(encoder.encode("17"));
    await ctl.write(encoder.encode("25\n"));
    assertEquals(await two.readTextFile("jobs/1/data"), "42\n");
    const refused = await two.writeTextFile("jobs/1/ctl", "1").catch(String);
    assertMatch(`${refused}`, /permission denied/);
    const wrong = await ctl.write(encoder.encode("x")).catch(String);
    assertMatch(`${wrong}`, /not a number/);
    const other = await two.open("jobs/clone", { read: true });
    const names = async () =>
      (await Array.fromAsync(two.readDir("jobs"))).map(({ name }) => name);
    assertEquals(await names(), ["clone", "1", "2"]);
    await one.close();
    await other.close();
    assertEquals(await names(), ["clone"]);
    await two.close();
    server.kill();
    assertEquals(await server.ended, 0);
  },

  async conformance() {
    const { server: judged, address } = await startServer("conformance_server");
    const output = await outputOf("conformance", address, "--strict");
    assertMatch(output, /^[1-9][0-9]* passed, 0 failed, 3 skipped$/m);
    judged.kill();
    await judged.ended;
  },

  async "names that drive a terminal"() {
    const evil = "\x1b[2J\x1b[31mevil\nd--------- root root 0 fake\x9b1A\u202e";
    const shown = "\\u001b[2J\\u001b[31mevil\\nd--------- root root 0 fake" +
      "\\u009b1A\\u202e";
    const handler = new MemoryFs({}, { mode: 0o777 }).handler;
    const refuse = () => Promise.reject(new NinePError(evil));
    const fs = override(handler, { open: refuse, create: refuse });
    await using refusing = await listen("tcp://127.0.0.1:0", fs);
    await client.mkdir("evil");
    await client.writeFile(["evil", evil], "x");
    const ls = (await outputOf("ls", address, "evil")).split("\n");
    assertEquals(ls.length, 2, "lines of ls");
    assertMatch(ls[0] ?? "", / 1 [0-9T:-]+ .*evil/);
    assert(ls[0]?.endsWith(` ${shown}`), ls[0]);
    const words = [address, "evil", address, "evil-copy"];
    const lines = (await outputOf("copy_tree", ...words)).split("\n");
    assertEquals(lines[0], `evil/${shown}: 1 bytes`);
    assertEquals(lines.length, 3, "lines of copy_tree");
    await client.remove("evil", { recursive: true });
    await client.remove("evil-copy", { recursive: true });
    // A name of the command line, and the text of a server's error.
    for (const example of ["ls", "cat", "put", "tail", "rpc", "copy_tree"]) {
      for (const server of [address, refusing.addr]) {
        const path = server === address ? `none/${evil}` : "/";
        const more = example === "copy_tree" ? [server, "copy"] : [];
        const words = [server, path, ...more];
        const { code, errors } = await runExample(example, words);
        assertEquals(code, 1, `${example}: ${errors}`);
        assertMatch(errors, /^[^\p{Cc}\p{Bidi_Control}]+\n$/u, example);
      }
    }
    const child = await runExample("conformance", [refusing.addr]);
    assertMatch(child.errors, /^[^\p{Cc}\p{Bidi_Control}]+\n$/u);
  },

  async "bad input"() {
    const closed = await listen("tcp://127.0.0.1:0", new MemoryFs());
    await closed.close();
    const refused = closed.addr;
    const usage = /^Usage: [a-z_]+\.ts ADDRESS/;
    const isRefused = /refused/;
    const missing = /"none"|"none\/file"/;
    const cases: [string, string[], number, RegExp][] = [
      ...["ls", "cat", "put", "tail", "rpc", "copy_tree"].map((example) =>
        [example, [], 2, usage] as [string, string[], number, RegExp]
      ),
      ["cat", [address], 2, usage],
      ["copy_tree", [address, "small", address], 2, usage],
      ["ls", [refused], 1, isRefused],
      ["cat", [refused, "small"], 1, isRefused],
      ["put", [refused, "small"], 1, isRefused],
      ["tail", [refused, "small"], 1, isRefused],
      ["rpc", [refused, "small"], 1, isRefused],
      ["copy_tree", [refused, "small", address, "copy"], 1, isRefused],
      ["copy_tree", [address, "small", refused, "copy"], 1, isRefused],
      ["ls", ["tcp:", "dir"], 1, /tcp:/],
      ["ls", [address, "none"], 1, missing],
      ["ls", [address, "small"], 1, /directory/],
      ["cat", [address, "none"], 1, missing],
      ["cat", [address, "dir"], 1, /directory/],
      ["put", [address, "none/file"], 1, missing],
      ["tail", [address, "none"], 1, missing],
      [
        "rpc",
        [address, "none"],
        1,
        /^Cannot read "none": file does not exist$/m,
      ],
      [
        "rpc",
        [address, "dir/none/file"],
        1,
        /^Cannot read "dir\/none\/file": no "none"$/m,
      ],
      ["copy_tree", [address, "none", address, "copy"], 1, missing],
      ["copy_tree", [address, "small", address, "small"], 1, /"small"/],
    ];
    for (const [example, words, expected, line] of cases) {
      const { code, errors } = await runExample(example, words);
      const what = `${example} ${words.join(" ")}: ${errors}`;
      assertEquals(code, expected, what);
      assertMatch(errors, line, what);
      assertMatch(errors, /^[^\n]+\n$/, `${what} is not one line`);
    }
  },
};

try {
  for (const [name, check] of Object.entries(checks)) {
    await check();
    console.log(`ok ${name}`);
  }
} catch (error) {
  for (const child of children) {
    try {
      child.kill("SIGKILL");
    } catch {
      // It has ended.
    }
  }
  throw error;
}
await client.close();
server.kill();
assertEquals(await server.ended, 0);
console.log(`${Object.keys(checks).length} checks, by ${process.argv0}`);
