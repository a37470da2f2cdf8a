// The command line of the conformance kit, examples/conformance.ts: its
// options,
// and its errors when no case can be run.
import {
  assert,
  assertEquals,
  assertMatch,
  assertRejects,
  assertThrows,
} from "@std/assert";
import { listen, MemoryFs } from "../../mod.ts";
import { runScript } from "../child.ts";
import {
  type CaseResult,
  cases,
  parseArguments,
  probeServer,
  runConformance,
} from "../conformance/mod.ts";
import { inMemory, makeHandler } from "./host.ts";
import { test } from "../harness.ts";
import { intercept } from "../client/interceptor.ts";

const EXAMPLE = "examples/conformance.ts";

test("parseArguments() understands every option", () => {
  const line = "--aname tree --uname rob --dir a/b --only S1 --skip S2 " +
    "--patience 250 --strict --json host:564";
  const options = {
    ...{ aname: "tree", uname: "rob", dir: "a/b" },
    ...{ only: ["S1"], skip: ["S2"], patience: 250, strict: true },
  };
  const wanted = { address: "host:564", json: true, options };
  assertEquals(parseArguments(line.split(" ")), wanted);
  const joined = line.replace(/(--\w+) (?!-|host)/g, "$1=").split(" ");
  assertEquals(joined.length, 9);
  assertEquals(parseArguments(joined), wanted);
});

test("parseArguments() leaves what is not said to the kit", () => {
  const wanted = { address: "host:564", json: false, options: {} };
  assertEquals(parseArguments(["host:564"]), wanted);
});

test("parseArguments() takes values that are empty or have a =", () => {
  const { options } = parseArguments(["x", "--aname=", "--dir=a=b\nc"]);
  assertEquals(options, { aname: "", dir: "a=b\nc" });
});

test("parseArguments() takes ids in small letters, and with blanks", () => {
  const lines = [
    ["--only=s35,S39", "x"],
    ["--only", " s35 , s39 ", "x"],
    ["--only", "s35,", "s39", "x"],
    ["x", "--only=S35,", "S39"],
  ];
  for (const words of lines) {
    const { address, options } = parseArguments(words);
    assertEquals(address, "x");
    assertEquals(options, { only: ["S35", "S39"] });
  }
  assertEquals(parseArguments(["x", "--skip=s1"]).options, { skip: ["S1"] });
});

test("parseArguments() wants no address beside --help", () => {
  assertEquals(parseArguments(["--help"]).address, undefined);
  assertEquals(parseArguments(["x", "--help"]).address, undefined);
});

for (
  const [line, detail] of [
    ["", "there is no ADDRESS"],
    ["--strict", "there is no ADDRESS"],
    ["x y", '"y" is one word too many'],
    ["x --only S35 S39", '"S39" is one word too many'],
    ["x --nope", 'there is no option "--nope"'],
    ["x --nope=1", 'there is no option "--nope=1"'],
    ["x -s", 'there is no option "-s"'],
    ["x --", 'there is no option "--"'],
    ["x --strict=1", 'there is no option "--strict=1"'],
    ["x --__proto__", 'there is no option "--__proto__"'],
    ["x --help --nope", 'there is no option "--nope"'],
    ["x --aname", "--aname has no value"],
    ["x --aname --strict", "--aname has no value"],
    ["x --only S1,", "--only has no value"],
    ["x --only S1, --strict", "--only has no value"],
    ["x --skip S1 --skip=S2", "--skip is there twice"],
    ["x --json --json", "--json is there twice"],
    ["x --patience 0", '--patience is "0", not 1 to 3600000'],
    ["x --patience=", '--patience is "", not 1 to 3600000'],
    ["x --patience -1", '--patience is "-1", not 1 to 3600000'],
    ["x --patience 1e3", '--patience is "1e3", not 1 to 3600000'],
    ["x --patience 3600001", '--patience is "3600001", not 1 to 3600000'],
  ] as const
) {
  test(`parseArguments() rejects "${line}"`, () => {
    const words = line.split(" ").filter(Boolean);
    assertThrows(
      () => parseArguments(words),
      TypeError,
      `Cannot read the command line: ${detail}`,
    );
  });
}

/** Makes a server of a tree in memory, for a kit in the same process. */
function host(mode = 0o777) {
  const fs = new MemoryFs({ open: {}, closed: {}, file: "" }, { mode });
  return { fs, serve: () => inMemory(fs.handler) };
}

test("probeServer() leaves nothing behind", async () => {
  const { fs, serve } = host();
  await using server = await serve();
  await probeServer(server.connect);
  assertEquals(fs.readDir("").length, 3);
});

test("probeServer() names the cases that are not there", async () => {
  const { serve } = host();
  await using server = await serve();
  const choices = [
    [{ only: ["S1", "S0"], skip: ["x"] }, 'there is no "S0", "x"'],
    [{ only: [""] }, 'there is no ""'],
    [{ only: ["S35"], skip: ["S35"] }, "none is left to run"],
    [{ only: [] }, "none is left to run"],
    [{ skip: cases.map(({ id }) => id) }, "none is left to run"],
  ] as const;
  for (const [options, detail] of choices) {
    const message = `Cannot run the cases: ${detail}`;
    const probe = () => probeServer(server.connect, options);
    await assertRejects(probe, RangeError, message);
    const run = () => runConformance(server.connect, options).next();
    await assertRejects(run, RangeError, message);
  }
});

test("probeServer() tells what keeps the cases from running", async () => {
  const { serve } = host(0o755);
  await using server = await serve();
  const { connect } = server;
  const silent = intercept(connect, () => ({ request: () => {} }));
  const strange = intercept(connect, () => ({
    request: (message, relay) =>
      message.type === "Tversion"
        ? relay.toClient({ ...message, type: "Rversion", version: "unknown" })
        : relay.toServer(message),
  }));
  const refused = () => Promise.reject(new Error("connection refused"));
  const troubles = [
    [refused, {}, "Cannot connect to the server: got no connection: "],
    [silent, {}, "Cannot begin a session: got nothing in 50 ms, wanted "],
    [strange, {}, 'Cannot begin a session: got the version "unknown", wanted '],
    [connect, { aname: "x" }, 'Cannot attach "glenda" to the tree "x": got '],
    [connect, {}, 'Cannot make a directory in "/": got the error '],
    [connect, { dir: "x/y" }, 'Cannot make a directory in "x/y": got '],
    [connect, { dir: "file" }, 'Cannot make a directory in "file": got '],
  ] as const;
  for (const [connect, options, message] of troubles) {
    const probe = probeServer(connect, { patience: 50, ...options });
    const error = await probe.catch((error) => error);
    assert(error instanceof Error);
    assertEquals(error.message.slice(0, message.length), message);
    assert(!error.message.includes("\n"), error.message);
  }
});

test("probeServer() takes a bounded time, whatever the server drips", async () => {
  await using server = await host().serve();
  const connect = intercept(server.connect, () => {
    let timer: ReturnType<typeof setInterval> | undefined;
    return {
      request: (message, relay) => {
        if (message.type !== "Tattach") return relay.toServer(message);
        const drip = () => relay.toClient({ type: "Rflush", tag: 60000 });
        timer ??= setInterval(drip, 5);
      },
      clientEnds: (relay) => {
        clearInterval(timer);
        relay.end();
      },
    };
  });
  const message = "no end in 200 ms";
  await assertRejects(
    () => probeServer(connect, { timeout: 200 }),
    Error,
    message,
  );
});

test("runConformance() works in `dir`, where it may not write in the root", async () => {
  const { fs, serve } = host(0o755);
  fs.mkdir("open/here", { mode: 0o777 });
  await using server = await serve();
  const options = { dir: "/open//here/", randomTime: 50 };
  await probeServer(server.connect, options);
  const failed: CaseResult[] = [];
  for await (const result of runConformance(server.connect, options)) {
    if (result.status === "fail" || result.reason?.includes("clean up")) {
      failed.push(result);
    }
  }
  assertEquals(failed, []);
  assertEquals(fs.readDir("open/here"), []);
});

test("conformance.ts gives JSON: a line for each case, and the counts", async () => {
  await using server = await listen("tcp://127.0.0.1:0", makeHandler());
  const { code, output, errors } = await runScript(
    ...[EXAMPLE, server.addr, "--json", "--only", "s28,", "s35"],
  );
  assertEquals({ code, errors }, { code: 0, errors: "" });
  const lines = output.trimEnd().split("\n").map((line) => JSON.parse(line));
  assertEquals(lines.map(({ id, status }) => [id, status]), [
    ["S28", "skip"],
    ["S35", "ok"],
    [undefined, undefined],
  ]);
  assertEquals(Object.keys(lines[1]), [
    ...["id", "title", "manual", "status", "milliseconds"],
  ]);
  const counts = { passed: 1, failed: 0, advice: 0, skipped: 1, notRun: 0 };
  assertEquals(lines[2], counts);
});

test("conformance.ts ends with 2 and one line where no case can be run", async () => {
  const fs = new MemoryFs({ closed: {} }, { mode: 0o777 });
  await using server = await listen("tcp://127.0.0.1:0", fs);
  const lines: [words: string[], line: RegExp][] = [
    [["tcp://127.0.0.1:1"], /^Cannot connect to the server: .*refused/],
    [[server.addr, "--aname=x"], /^Cannot attach "glenda" to the tree "x": /],
    [[server.addr, "--dir=closed"], /^Cannot make a directory in "closed": /],
    [[server.addr, "--only=S0,S35,no"], /: there is no "S0", "NO"$/],
    [[server.addr, "--only=S35", "--skip=s35"], /: none is left to run$/],
  ];
  for (const [words, line] of lines) {
    const { code, output, errors } = await runScript(EXAMPLE, ...words);
    assertEquals({ code, output }, { code: 2, output: "" });
    assertMatch(errors.trimEnd(), line);
  }
});

test("conformance.ts and memory_server.ts tell their usage", async () => {
  const help = await runScript(EXAMPLE, "--help");
  assertEquals(help.code, 0);
  assertMatch(help.output, /^Usage: conformance\.ts ADDRESS/);
  const wrong = await runScript(EXAMPLE, "--all");
  assertEquals(wrong.code, 2);
  assertEquals(
    wrong.errors,
    `Cannot read the command line: there is no option "--all"\n${help.output}`,
  );
  for (const words of [["--port=5640"], ["-v"], ["host:1", "host:2"]]) {
    const { code, errors } = await runScript(
      ...["examples/memory_server.ts", ...words],
    );
    assertEquals(code, 2);
    assertMatch(errors, /^Usage: memory_server\.ts \[ADDRESS\]/);
  }
});
