// The conformance kit over our own server: every case, in memory and over TCP.
// Runs over faulty servers check that each case can fail.
import { assert, assertEquals } from "@std/assert";
import {
  type Connection,
  listen,
  MemoryFs,
  pair,
  Plan9Exit,
  serve,
} from "../../mod.ts";
import { runScript } from "../child.ts";
import {
  type CaseResult,
  cases,
  type ConformanceOptions,
  type Connect,
  formatResult,
  runConformance,
} from "../conformance/mod.ts";
import {
  type Host,
  inMemory,
  makeGuarded,
  makeHandler,
  override,
  overTcp,
  sayTheWord,
  type Transport,
} from "./host.ts";
import { faults } from "./faults.ts";
import { test } from "../harness.ts";
import { intercept, type Relay } from "../client/interceptor.ts";

const quiet = { onError: () => {} };

/** Returns options with everything that a case may need from our own server. */
async function strictOptions(
  transport: Transport,
  stack: AsyncDisposableStack,
): Promise<ConformanceOptions> {
  const guarded = stack.use(await transport(makeGuarded()));
  return {
    strict: true,
    randomTime: 300,
    auth: { connect: guarded.connect, exchange: sayTheWord },
    expendable: async () => {
      const fs = new MemoryFs({}, { mode: 0o777 });
      fs.register("stop", () => {
        host.stop();
        throw new Plan9Exit("the server ends");
      });
      const host: Host = stack.use(await transport(fs.handler));
      return { connect: host.connect, stop: "stop" };
    },
  };
}

/**
 * The runs. The run in memory uses the default limits; lower limits save time.
 */
const runs = [
  { name: "pair", transport: inMemory, limits: {}, set: {} },
  {
    name: "TCP",
    transport: overTcp,
    limits: { fids: 2000, requests: 100 },
    set: { maxFids: 2000, maxRequests: 100 },
  },
];

for (const { name, transport, limits, set } of runs) {
  for (const line of cases) {
    test(`conformance, ${name}: ${line.id} ${line.title}`, async () => {
      await using stack = new AsyncDisposableStack();
      const options = await strictOptions(transport, stack);
      const server = await transport(makeHandler(), { ...quiet, ...set });
      const host = stack.use(server);
      const result = await line.run(host.connect, { ...options, limits });
      assert(result.status === "ok", formatResult(result));
      assertEquals(result.reason, undefined);
    });
  }
}

test("conformance: the cases about users, with a user database", async () => {
  const users = {
    ...{ none: {}, glenda: {}, bootes: {}, rob: {} },
    sys: { members: ["glenda", "bootes"], leader: "bootes" },
    adm: { members: ["bootes"], leader: "bootes" },
  };
  await using host = await inMemory(makeHandler({ users, uid: "none" }));
  const only = "S34 S49 S52 S66 S69 S82 S91 S97 S102 S103 S105".split(" ");
  const groups = ["sys", "adm"] as const;
  const run = runConformance(host.connect, { strict: true, only, groups });
  for await (const result of run) {
    assert(result.status === "ok", formatResult(result));
  }
});

test("conformance, TCP: S117 with a limit of connections", async () => {
  const limit = { ...quiet, maxConnections: 4, maxFids: 1000 };
  await using host = await overTcp(makeHandler(), limit);
  const line = cases.find(({ id }) => id === "S117");
  const options = { strict: true, limits: { connections: 4, fids: 1000 } };
  const result = await line?.run(host.connect, options);
  assert(result?.status === "ok", result && formatResult(result));
});

// The tests below check the kit itself: that cases fail, and the texts of
// results.

for (const fault of faults) {
  test(`conformance: a server that ${fault.name} fails ${fault.ids}`, async () => {
    await using stack = new AsyncDisposableStack();
    const options = await strictOptions(inMemory, stack);
    const host = stack.use(await inMemory(makeHandler(), quiet));
    const passed: string[] = [];
    for (const id of fault.ids.split(" ")) {
      const line = cases.find((line) => line.id === id);
      assert(line !== undefined, `there is no ${id}`);
      const interceptor = fault.begin();
      const auth = options.auth && {
        ...options.auth,
        connect: intercept(options.auth.connect ?? host.connect, interceptor),
      };
      const { status } = await line.run(intercept(host.connect, interceptor), {
        ...options,
        ...(auth ? { auth } : {}),
        patience: 100,
        timeout: 5000,
      });
      if (status !== "fail") passed.push(id);
    }
    assertEquals(passed, [], "cases that did not see it");
  });
}

test("conformance: there is a fault for every case", () => {
  const seen = new Set(faults.flatMap(({ ids }) => ids.split(" ")));
  assertEquals(cases.map(({ id }) => id).filter((id) => !seen.has(id)), []);
});

/** Runs cases and returns the ids of those with a status. */
async function idsOf(
  status: CaseResult["status"],
  connect: Connect,
  options: ConformanceOptions,
): Promise<string[]> {
  const ids: string[] = [];
  for await (const result of runConformance(connect, options)) {
    if (result.status === status) ids.push(result.id);
  }
  return ids;
}

const hasty: ConformanceOptions = { patience: 100, randomTime: 100 };

for (
  const [what, options] of [
    ["a strict server", { strict: true }],
    ["a server that opens implicitly", { implicitOpen: true }],
    ["a server whose errors are JSON", { errors: "json" }],
    ["a server of a small msize", { msize: 8192 }],
  ] as const
) {
  test(`conformance: ${what} is right as well`, async () => {
    await using host = await inMemory(makeHandler(), { ...quiet, ...options });
    const { connect } = host;
    for await (const result of runConformance(connect, { randomTime: 100 })) {
      assert(result.status !== "fail", formatResult(result));
    }
  });
}

for (
  const [reaction, malformedFrame] of [
    ["ends at", (_frame: Uint8Array, relay: Relay) => relay.end()],
    ["drops", () => {}],
  ] as const
) {
  test(`conformance: a server that ${reaction} a malformed frame passes, except in a strict run`, async () => {
    await using host = await inMemory(makeHandler(), quiet);
    const connect = intercept(host.connect, () => ({ malformedFrame }));
    const only = "S6 S7 S8 S9 S10 S12 S13 S14 S104".split(" ");
    const lenient = { ...hasty, only };
    assertEquals(await idsOf("ok", connect, lenient), only);
    const strict = { ...lenient, strict: true };
    assertEquals(await idsOf("fail", connect, strict), only);
  });
}

test("conformance: what is not there is skipped, and said", async () => {
  const fs = new MemoryFs({}, { mode: 0o777 });
  await using host = await inMemory(fs.handler);
  const skipped: CaseResult[] = [];
  for await (const result of runConformance(host.connect, hasty)) {
    assert(result.status !== "fail", formatResult(result));
    if (result.status === "skip") skipped.push(result);
  }
  assertEquals(
    skipped.map(({ id }) => id),
    ("S28 S29 S30 S83 S107 S109 S112 S113 S115 S117 S118 S119 S120 S121 " +
      "S122 S123 S124 S125 S126").split(" "),
  );
  assertEquals(
    formatResult(skipped[3]),
    "skip S83 A read that blocks does not delay other tags, of this or " +
      'another connection: no file "block" here, a file whose read blocks',
  );
  assertEquals(fs.readDir("/"), [], "what the cases left behind");
});

test("conformance: a server with one user is skipped where it takes more", async () => {
  await using host = await inMemory(makeHandler(), quiet);
  const connect = intercept(host.connect, () => ({
    request: (message, relay) =>
      relay.toServer(
        message.type === "Tattach" ? { ...message, uname: "glenda" } : message,
      ),
  }));
  assertEquals(
    await idsOf("skip", connect, hasty),
    "S28 S29 S30 S34 S49 S52 S66 S69 S82 S91 S96 S97 S102 S103 S105".split(" "),
  );
});

test("conformance: a connection of streams will do", async () => {
  await using host = await inMemory(makeHandler(), quiet);
  const connect = async () => {
    const connection = await host.connect();
    const { readable, writable, peer } = connection;
    return { readable, writable, peer, close: () => connection.close() };
  };
  const only = ["S1", "S3", "S5", "S35", "S77", "S87", "S107"];
  assertEquals(await idsOf("ok", connect, { only }), only);
});

/**
 * Peers that are no 9P servers: how the first case fails, and how the run ends.
 */
const notServers: Record<
  string,
  { connect: Connect; reason: RegExp; end?: string }
> = {
  "refuses": {
    connect: () => Promise.reject(new Error("connection refused")),
    reason: /^got no connection: connection refused$/,
    end: "server ended at S2",
  },
  "throws": {
    connect: () => {
      throw new Error("no such address");
    },
    reason: /^got no connection: no such address$/,
    end: "server ended at S2",
  },
  "does not connect": {
    connect: () => new Promise(() => {}),
    reason: /^got no connection, wanted one$/,
    end: "server says nothing since S2",
  },
  "says nothing": {
    connect: () => pair()[0],
    reason: /^got nothing in 50 ms, wanted Rversion/,
    end: "server says nothing since S2",
  },
  "hangs up": {
    connect: () => {
      const [here, there] = pair();
      there.close();
      return here;
    },
    reason: /^got the end of the connection, wanted Rversion$/,
    end: "server ended at S2",
  },
  "speaks another language": {
    connect: () => peerSending("220 mail.example ESMTP\r\n"),
    reason: /^got a reply that is none: .*size/,
  },
  "answers with half a message": {
    connect: () => peerSending("\x13\0\0\0e", true),
    reason: /^got 5 bytes of half a reply, wanted Rversion/,
  },
};

/** Makes a peer that sends one text and ignores all requests. */
function peerSending(text: string, ends = false): Connection {
  const [here, there] = pair();
  there.write?.(new TextEncoder().encode(text));
  if (ends) there.closeWrite?.();
  return here;
}

for (
  const [behaviour, { connect, reason, end }] of Object.entries(notServers)
) {
  const costs = end === undefined ? "every case" : "a case, and ends the run";
  test(`conformance: a server that ${behaviour} costs ${costs}`, async () => {
    const only = ["S2", "S35", "S106"];
    const results: CaseResult[] = [];
    const run = runConformance(connect, { only, patience: 50 });
    for await (const result of run) results.push(result);
    assertEquals(results.map(({ id }) => id), only);
    const [first, ...rest] = results;
    assertEquals([first.status, first.end], ["fail", end]);
    assert(reason.test(first.reason ?? ""), first.reason);
    for (const result of rest) {
      assertEquals(result.status, end === undefined ? "fail" : "not run");
      if (end === undefined) assert(reason.test(result.reason ?? ""));
      else assertEquals(result.reason, end);
    }
  });
}

test("conformance: a case takes a bounded time, whatever the server drips", async () => {
  await using host = await inMemory(makeHandler(), quiet);
  const connect = intercept(host.connect, () => {
    let timer: ReturnType<typeof setInterval> | undefined;
    return {
      // Sends replies all the time, but never the expected one.
      request: (message, relay) => {
        if (message.type !== "Tstat") return relay.toServer(message);
        const drip = () => relay.toClient({ type: "Rflush", tag: 60000 });
        timer ??= setInterval(drip, 5);
      },
      clientEnds: (relay) => {
        clearInterval(timer);
        relay.end();
      },
    };
  });
  const line = cases.find(({ id }) => id === "S2");
  const result = await line?.run(connect, { timeout: 200 });
  assertEquals(result?.reason, "no end in 200 ms");
});

test("conformance: cleaning up removes nothing that is not of the kit", async () => {
  const fs = new MemoryFs({ work: { kept: "data" } }, { mode: 0o777 });
  fs.chmod("work", 0o777);
  const { handler } = fs;
  const parent = { stat: { ...fs.stat("work"), name: ".." } };
  // A server that lists `..`, which no client may walk to.
  const listing = override(handler, {
    async *readdir(fid, request, context) {
      const members = await handler.readdir?.(fid, request, context);
      if (members !== undefined) yield* members;
      yield parent;
    },
  });
  const connect = () => {
    const [here, there] = pair();
    void serve(there, listing, { onError: () => {} });
    return here;
  };
  const only = ["S61", "S74"];
  for await (const _ of runConformance(connect, { dir: "work", only })) {
    // The results do not matter.
  }
  assertEquals(fs.readDir("work").map(({ name }) => name), ["kept"]);
  assertEquals(fs.stat("work").mode & 0o777, 0o777);
});

test("conformance: a failure shows what was said", async () => {
  await using host = await inMemory(makeHandler(), quiet);
  const connect = intercept(host.connect, () => ({
    reply: (reply, request, relay) =>
      relay.toClient(
        request?.type === "Tflush"
          ? { type: "Rerror", tag: reply.tag, ename: "no\ttag" }
          : reply,
      ),
  }));
  const line = cases.find(({ id }) => id === "S106");
  const result = await line?.run(connect);
  assert(result !== undefined);
  const frames = result.frames?.slice(-2);
  assertEquals(frames, [
    "1 -> Tflush tag 2 oldtag 0",
    '1 <- Rerror tag 2 ename "no\\ttag"',
  ]);
  const lines = formatResult(result).split("\n");
  assertEquals(
    lines[0],
    "FAIL S106 Tflush of a tag that is not outstanding: Rflush [flush(9P)]: " +
      'got the error "no\\ttag", wanted Rflush',
  );
  assertEquals(lines.at(-1), '    1 <- Rerror tag 2 ename "no\\ttag"');
});

test("conformance: files that cannot be removed are reported", async () => {
  await using host = await inMemory(makeHandler(), quiet);
  const connect = intercept(host.connect, () => ({
    request: (message, relay) =>
      message.type === "Tremove"
        ? relay.toClient({ type: "Rremove", tag: message.tag })
        : relay.toServer(message),
  }));
  const line = cases.find(({ id }) => id === "S35");
  const result = await line?.run(connect);
  assertEquals(result?.status, "ok");
  assert(/^\(cannot clean up: "conformance-/.test(result?.reason ?? ""));
});

test("conformance: the example says ok, FAIL and skip, and ends with 1", async () => {
  const fs = new MemoryFs({}, { mode: 0o777 });
  const { handler } = fs;
  const wrong = override(handler, {
    // The name "missing" is found as well.
    walk: (node, name, request) =>
      handler.walk(node, name === "missing" ? ".." : name, request),
  });
  await using server = await listen("tcp://127.0.0.1:0", wrong);
  const { code, output } = await runScript(
    "examples/conformance.ts",
    server.addr,
    "--only=S28,S35,S38",
  );
  assertEquals(code, 1);
  const lines = output.trimEnd().split("\n");
  const results = lines.filter((line) => !line.startsWith(" "));
  assertEquals(results.map((line) => line.slice(0, 8)), [
    "skip S28",
    "ok S35 N",
    "FAIL S38",
    "1 passed",
  ]);
  assertEquals(results.at(-1), "1 passed, 1 failed, 1 skipped");
  assert(
    lines.includes("    1 -> Twalk tag 10 fid 1 newfid 5 wname [missing]"),
    output,
  );
});

test("conformance: only and skip choose the cases, and must name some", async () => {
  await using host = await inMemory(makeHandler(), quiet);
  const options = { only: ["S1", "S2", "S106"], skip: ["S2"] };
  assertEquals(await idsOf("ok", host.connect, options), ["S1", "S106"]);
  for (const wrong of [{ only: ["S0"] }, { skip: ["s1"] }]) {
    const run = runConformance(host.connect, wrong);
    const error = await run.next().catch((error) => error);
    assert(error instanceof RangeError);
  }
});

test("conformance: the cases are S1 to S126, each with a page", () => {
  assertEquals(
    cases.map(({ id }) => id),
    Array.from({ length: 126 }, (_, i) => `S${i + 1}`),
  );
  const pages = new Set(cases.map(({ manual }) => manual));
  for (const page of pages) {
    assert(/^[a-z]+\(9P\)$|^Tcall, Rcall$/.test(page), page);
  }
});
