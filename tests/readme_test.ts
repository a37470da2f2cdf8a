// The TypeScript of the README and of docs/, as pasted: only the imports and the port
// differ, so that it runs against this checkout and beside other servers.

import { assert, assertEquals, assertStringIncludes } from "@std/assert";

const root = new URL("../", import.meta.url);
const readme = await Deno.readTextFile(new URL("README.md", root));

/** The blocks of TypeScript in a page. */
async function blocksOf(page: string): Promise<string[]> {
  const text = await Deno.readTextFile(new URL(page, root));
  return [...text.matchAll(/```ts[^\n]*\n(.*?)```/gs)].map(([, code = ""]) =>
    code
  );
}

const [service = "", script = "", child = "", parent = ""] = await blocksOf(
  "README.md",
);
const client = await blocksOf("docs/client.md");
const [functions, hooks, jobs] = await blocksOf("docs/functions.md");
const [composed = "", own, handler, forPython, fixture] = await blocksOf(
  "docs/server.md",
);

const [several, certificates, web, batch] = await blocksOf(
  "docs/transports.md",
);

/** Returns a port that was free a moment ago. */
function freePort(): number {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  return listener.addr.port;
}

/** The program, with imports of this checkout. */
function located(program: string): string {
  return program
    .replaceAll('"jsr:@ninep/ninep"', JSON.stringify(`${root}mod.ts`))
    .replace("jsr:@ninep/ninep/testing", `${root}tests/testing.ts`);
}

/** Type-checks a program, runs it, and returns its output. */
async function run(program: string, ...more: string[]): Promise<string> {
  const source = located(program).replaceAll(":5640", `:${freePort()}`);
  const dir = await Deno.makeTempDir();
  try {
    await Deno.writeTextFile(`${dir}/example.ts`, source);
    const flags = ["--quiet", "--no-prompt", "--check", "--allow-net"]
      .concat(more);
    const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
      args: ["run", ...flags, `${dir}/example.ts`],
    }).output();
    const decoder = new TextDecoder();
    assertEquals(decoder.decode(stderr), "");
    assertEquals(code, 0);
    return decoder.decode(stdout);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

Deno.test("README: a microservice, and a script against it", async () => {
  const output = await run(`
    ${service.replace("await server.finished;", "")}
    ${script.replace(/^import.*$/m, "").replace("{ connect }", "{}")}
    const uptime = await client.readTextFile("uptime");
    console.log(/^[0-9]+ ms\\n$/.test(uptime));
  `.replace("{ listen, MemoryFs }", "{ connect, listen, MemoryFs }"));
  const [listening = "", ...lines] = output.split("\n");
  assertStringIncludes(listening, "listening on tcp://127.0.0.1:");
  assertEquals(lines, [
    "motd 6",
    "add 0",
    "uptime 0",
    "hello",
    "",
    "42",
    "true",
    "",
  ]);
  for (const block of [service, script, child, parent]) {
    assert(block.trimEnd().split("\n").length <= 15);
  }
});

Deno.test("README: a parent and its child", async () => {
  const folder = await Deno.makeTempDir();
  try {
    await Deno.writeTextFile(`${folder}/child.ts`, located(child));
    const program = parent
      .replace('"deno"', JSON.stringify(Deno.execPath()))
      .replace('"run", "child.ts"', `"run", "--quiet", "${folder}/child.ts"`);
    assertEquals(
      await run(program, `--allow-run=${Deno.execPath()}`),
      "HELLO\n",
    );
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("docs/client.md: what a client does", async () => {
  const [connecting, ...others] = client;
  const output = await run(`
    import {
      connect, listen, MemoryFs, NinePError, OREAD,
    } from "jsr:@ninep/ninep";
    const never = ({ signal }: { signal: AbortSignal }) =>
      new Promise<never>((_, reject) => {
        signal.addEventListener("abort", () => reject(signal.reason));
      });
    const fs = new MemoryFs({ motd: "hello\\n" }, { mode: 0o777 });
    fs.register("add", (a, b) => a + b, { params: ["a", "b"] });
    fs.register("events", never, { callOnRead: true, context: true });
    await using server = await listen("tcp://127.0.0.1:5640", fs);
    ${connecting}
    console.log(length, uid, isFile);
    ${others.map((block) => `{${block}}`).join("\n")}
    await client.close();
  `);
  const lines = output.trimEnd().split("\n");
  // The members of a directory that was copied come in any order.
  lines.splice(7, 3, ...lines.slice(7, 10).sort());
  assertEquals(lines, [
    ...["31 glenda true", "read the manual", "write the book"],
    ...["old 0", "plan 31", "copy 31"],
    ...["backup", "backup/copy", "backup/old", "backup/plan"],
    ...["42", "TimeoutError", "/notes true"],
    'Cannot read "none": file does not exist',
  ]);
});

Deno.test("docs/functions.md: functions and files", async () => {
  const output = await run(`
    import { connect, MemoryFs, pair, serve } from "jsr:@ninep/ninep";
    const log = (data: Uint8Array) =>
      console.log("log:", new TextDecoder().decode(data));
    const configure = (data: Uint8Array) =>
      console.log("config:", new TextDecoder().decode(data));
    ${functions}
    ${hooks}
    const [here, there] = pair();
    serve(there, fs);
    const client = await connect(here);
    console.log(await client.readTextFile("etc/hosts"));
    console.log(await client.readTextFile("motd"));
    console.log(await client.call("greet", { kwarg: { name: "glenda" } }));
    console.log(await client.call("greet"));
    console.log(/^[0-9]+ ms\\n$/.test(await client.readTextFile("uptime")));
    await client.writeTextFile("log", "line");
    await client.writeTextFile("config", "a = 1");
    console.log(await client.call("sub", { kwarg: { b: 1, a: 3 } }));
    console.log(await client.call("whoami"));
    await client.close();
  `);
  assertEquals(output.split("\n"), [
    ...["127.0.0.1 localhost", "", "changed by the program", ""],
    ...["hello glenda", "hello you", "true", "log: line"],
    ...["config: a = 1", "2", "none", ""],
  ]);
});

Deno.test("docs/functions.md: a directory of jobs", async () => {
  const output = await run(`
    import {
      connect, type DirHooks, MemoryFs, pair, serve,
    } from "jsr:@ninep/ninep";
    let last = 0;
    const startJob = () => {
      const name = String(++last);
      return {
        name,
        control: (data: Uint8Array) =>
          console.log(name, new TextDecoder().decode(data)),
        read: ({ offset }: { offset: number }, _signal: AbortSignal) =>
          new TextEncoder().encode(offset === 0 ? "done" : ""),
      };
    };
    const fs = new MemoryFs();
    ${jobs}
    const [here, there] = pair();
    serve(there, fs);
    const client = await connect(here);
    const ctl = await client.open("jobs/clone", { read: true, write: true });
    await ctl.write(new TextEncoder().encode("go"));
    console.log(await client.readTextFile("jobs/1/data"));
    console.log(await client.readDirNames("jobs"));
    await ctl.close();
    console.log(await client.readDirNames("jobs"));
    await client.close();
  `);
  assertEquals(output.split("\n"), [
    ...["1 go", "done", '[ "clone", "1" ]', '[ "clone" ]', ""],
  ]);
});

Deno.test("docs/server.md: several trees as one", async () => {
  const folder = await Deno.makeTempDir();
  try {
    await Deno.writeTextFile(`${folder}/hosts`, "localhost\n");
    const output = await run(
      `
      import {
        connect, HostFs, listen, MemoryFs, mount, RemoteFs, union,
      } from "jsr:@ninep/ninep";
      const other = new MemoryFs({ there: "from afar\\n" });
      await using far = await listen("tcp://127.0.0.1:0", other);
      ${
        composed
          .replace('"tcp://far.example:564"', "far.addr")
          .replaceAll(/HostFs\("[^"]*"\)/g, `HostFs("${folder}")`)
      }
      await using client = await connect("tcp://127.0.0.1:5640");
      for (const path of ["motd", "srv/hosts", "far/there", "etc/hosts"]) {
        console.log((await client.readTextFile(path)).trimEnd());
      }
      console.log((await client.readDirNames("/")).sort().join(" "));
    `,
      `--allow-read=${folder}`,
    );
    assertEquals(output.split("\n"), [
      ...["hello", "localhost", "from afar", "localhost"],
      ...["etc far motd srv", ""],
    ]);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("docs/server.md: a tree of your own", async () => {
  const output = await run(`
    import {
      connect, listen, type TreeDir, type TreeFile, treeOf,
    } from "jsr:@ninep/ninep";
    ${own}
    await using client = await connect("tcp://127.0.0.1:5640");
    console.log((await client.readTextFile("hello")).trimEnd());
    console.log((await client.readDirNames("/")).join());
  `);
  assertEquals(output, "hello\nhello\n");
});

Deno.test("docs/server.md: a handler answers", async () => {
  const output = await run(`
    import { connect, listen } from "jsr:@ninep/ninep";
    ${handler?.replace("await server.finished;", "")}
    const client = await connect("tcp://127.0.0.1:5640");
    console.log((await client.readTextFile("time")).slice(0, 2));
    console.log(await client.readTextFile("none").catch(({ code }) => code));
    await client.close();
  `);
  assertEquals(output, "20\nENOENT\n");
});

Deno.test("docs/server.md: a server for clients of pyroute2", async () => {
  const output = await run(`
    import { connect, listen, MemoryFs } from "jsr:@ninep/ninep";
    const fs = new MemoryFs({ motd: "hello" });
    ${forPython}
    await using client = await connect(forPython.addr);
    // The client opens no file.
    const { protocol } = client;
    const fid = await protocol.walk("motd");
    const read = { type: "Tread", fid, offset: 0n, count: 8192 } as const;
    const { data } = await protocol.rpc(read);
    console.log(new TextDecoder().decode(data));
    const error = await protocol.rpc({ type: "Tstat", fid: 99 }).catch((e) => e);
    console.log(error.class, error.str);
  `);
  assertEquals(output, "hello\nOSError fid unknown or out of range\n");
});

Deno.test("docs/server.md: the fixture for tests", async () => {
  assertEquals(await run(fixture ?? ""), "changed\n");
});

Deno.test("docs/transports.md: several addresses, certificates, a fetch handler", async () => {
  const imports = `import { connect, listen, MemoryFs, webHandler } from
    "jsr:@ninep/ninep";
    const fs = new MemoryFs({ motd: "hello\\n" });`;
  const end = `console.log((await client.readTextFile("motd")).trim());
    await client.close();
    await server.close();`;
  const output = await run(
    `${imports} ${several?.replaceAll(":5641", `:${freePort()}`)} ${end}`,
  );
  assertEquals(output, "hello\n");
  const { pathname } = new URL("tests/testdata/tls/", root);
  const folder = JSON.stringify(pathname);
  const secured = await run(
    `${imports}
    const read = (name: string) => Deno.readTextFileSync(${folder} + name);
    const [cert, key, ca] = ["server.crt", "server.key", "ca.crt"].map(read);
    ${
      certificates?.replace("example.org", "127.0.0.1").replace(
        "*",
        "127.0.0.1",
      )
    } ${end}`,
    "--allow-read",
  );
  assertEquals(secured, "hello\n");
  const handled = await run(
    `${imports} ${web?.replace("export default", "void ")}
    const server = Deno.serve({ port: 0, onListen() {} }, handler.fetch);
    const client = await connect(\`ws://127.0.0.1:\${server.addr.port}\`);
    console.log(Object.keys(handler.websocket).includes("message"));
    ${
      end.replace(
        "close();\n    await server.close()",
        "close();\n    await server.shutdown()",
      )
    }`,
  );
  assertEquals(handled, "true\nhello\n");
});

Deno.test("docs/transports.md: a batch", async () => {
  const output = await run(`
    import { batchHandler, connectBatch, MemoryFs } from "jsr:@ninep/ninep";
    const fs = new MemoryFs({ motd: "hello\\n" });
    fs.register("add", (a: number, b: number) => a + b, { params: ["a", "b"] });
    ${batch}
    console.log(motd.trim(), sum);
  `);
  assertEquals(output, "hello 42\n");
});

Deno.test("README and docs/: no block of TypeScript is left out", async () => {
  const pages = ["README.md"];
  for await (const { name } of Deno.readDir(new URL("docs", root))) {
    pages.push(`docs/${name}`);
  }
  const counts = await Promise.all(
    pages.sort().map(async (page) =>
      `${page} ${(await blocksOf(page)).length}`
    ),
  );
  assertEquals(counts, [
    "README.md 4",
    "docs/client.md 10",
    "docs/functions.md 3",
    "docs/limits.md 0",
    "docs/linux.md 0",
    "docs/protocol.md 0",
    "docs/server.md 5",
    "docs/transports.md 4",
  ]);
});

/** The commands that run an example under Deno. */
const protocol = await Deno.readTextFile(new URL("docs/protocol.md", root));
const commands = [
  ...(readme + protocol).matchAll(/^deno run (--\S+) (examples\/.*)$/gm),
]
  .map(([, flag = "", words = ""]) => ({ flag, words }));

/**
 * Starts a command of the README, at another port; `<` gives it a file to read.
 */
async function start(
  { flag, words }: { flag: string; words: string },
  port: number,
) {
  const [line = "", input] = words.replace(":5640", `:${port}`).split(" < ");
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "--quiet", "--no-prompt", flag, ...line.split(" ")],
    cwd: root,
    stdin: "piped",
    stdout: "piped",
  }).spawn();
  const data = input
    ? await Deno.readFile(new URL(input, root))
    : new Uint8Array(0);
  // A server does not read its input.
  await ReadableStream.from([data]).pipeTo(child.stdin).catch(() => {});
  return child;
}

/** Returns the output of a command that must succeed. */
async function outputOf(name: string, port: number): Promise<string> {
  const command = commands.find(({ words }) =>
    words.startsWith(`examples/${name}.ts `)
  );
  if (command === undefined) throw new Error(`the README has no ${name}.ts`);
  const child = await start(command, port);
  const { code, stdout } = await child.output();
  assertEquals(code, 0, name);
  return new TextDecoder().decode(stdout);
}

/** Runs a server of the README while it is used. */
async function withServer(name: string, use: (port: number) => Promise<void>) {
  const port = freePort();
  const command = commands.find(({ words }) =>
    words.startsWith(`examples/${name}.ts `)
  );
  if (command === undefined) throw new Error(`the README has no ${name}.ts`);
  const server = await start(command, port);
  const reader = server.stdout.getReader();
  try {
    const { value } = await reader.read();
    const line = new TextDecoder().decode(value);
    assertEquals(line, `listening on tcp://127.0.0.1:${port}\n`);
    await use(port);
  } finally {
    reader.releaseLock();
    await server.stdout.cancel();
    server.kill("SIGTERM");
    await server.status;
  }
}

Deno.test("README: the commands of the examples do what it says", async () => {
  await withServer("memory_server", async (port) => {
    assertEquals(await outputOf("put", port), "");
    assertStringIncludes(await outputOf("ls", port), " readme\n");
    assertEquals(await outputOf("cat", port), readme);
    assertStringIncludes(await outputOf("conformance", port), " 0 failed, ");
  });
  await withServer("conformance_server", () => Promise.resolve());
  assertEquals(commands.length, 6, "all commands are run here");
});
