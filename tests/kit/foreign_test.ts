// The conformance kit over other kinds of servers: slow servers, servers that
// lack
// a request, servers that die, and servers that use a freedom of the manual.
// They
// are made of our own server, after plan9port's ramfs and others.
import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import { decodeDir, DMAPPEND, encodeDir } from "../../codec.ts";
import { listen, MemoryFs, pair } from "../../mod.ts";
import { runScript } from "../child.ts";
import {
  type CaseResult,
  type ConformanceOptions,
  type Connect,
  Count,
  formatResult,
  probeServer,
  runConformance,
} from "../conformance/mod.ts";
import { inMemory, makeHandler, override } from "./host.ts";
import { test } from "../harness.ts";
import {
  error,
  intercept,
  type Interceptor,
  type Relay,
} from "../client/interceptor.ts";

const quiet = { onError: () => {} };
const hasty: ConformanceOptions = { patience: 500, randomTime: 50 };

/** Runs the kit over our server, altered by a interceptor. */
async function run(
  interceptor: () => Interceptor,
  options: ConformanceOptions,
): Promise<CaseResult[]> {
  await using host = await inMemory(makeHandler(), quiet);
  return await resultsOf(intercept(host.connect, interceptor), options);
}

async function resultsOf(
  connect: Connect,
  options: ConformanceOptions,
): Promise<CaseResult[]> {
  const run = runConformance(connect, { ...hasty, ...options });
  return await Array.fromAsync(run);
}

/** Returns the ids of the results that have a status. */
function idsOf(
  results: readonly CaseResult[],
  status: CaseResult["status"],
): string[] {
  return results.filter((result) => result.status === status)
    .map(({ id }) => id);
}

/** Formats the results that are neither `ok` nor skipped. */
function troubles(results: readonly CaseResult[]): string[] {
  return results.filter(({ status }) => status !== "ok" && status !== "skip")
    .map(formatResult);
}

// --- type and dev
// -------------------------------------------------------------

/**
 * Simulates a server that gives `type` and `dev` other values in each record.
 */
function withKernelUse(): Interceptor {
  let use = 0;
  return {
    reply: (reply, request, relay) => {
      if (reply.type === "Rstat") {
        const stat = { ...reply.stat, type: ++use, dev: ++use };
        return relay.toClient({ ...reply, stat });
      }
      if (reply.type !== "Rread" || request?.type !== "Tread") {
        return relay.toClient(reply);
      }
      let data = reply.data;
      try {
        const members = decodeDir(data);
        data = encodeDir(
          members.map((stat) => ({ ...stat, type: ++use, dev: ++use })),
        );
      } catch {
        // The data is that of a file, not of a directory.
      }
      relay.toClient({ ...reply, data });
    },
  };
}

test("conformance: type and dev of a stat may be anything", async () => {
  const only = ["S63", "S74", "S96", "S99", "S103"];
  // S101 sends a Twstat of the present type and dev.
  const results = await run(withKernelUse, { only });
  assertEquals(troubles(results), []);
  assertEquals(idsOf(results, "ok"), only);
});

test("conformance: S74 sees every other difference of a listed record", async () => {
  const results = await run(() => ({
    reply: (reply, _, relay) =>
      relay.toClient(
        reply.type === "Rstat"
          ? { ...reply, stat: { ...reply.stat, muid: "other" } }
          : reply,
      ),
  }), { only: ["S74"] });
  assertEquals(idsOf(results, "fail"), ["S74"]);
});

// --- Servers that lack a request
// ------------------------------------------------

test("conformance: a server without Twstat fails no case", async () => {
  const results = await run(() => ({
    request: (message, relay) =>
      message.type === "Twstat"
        ? relay.toClient(error(message.tag, "wstat not supported"))
        : relay.toServer(message),
  }), {});
  assertEquals(troubles(results), []);
  const skipped = idsOf(results, "skip");
  for (const id of ["S96", "S97", "S98", "S99", "S100"]) {
    assert(skipped.includes(id), id);
    const reason = results.find((result) => result.id === id)?.reason;
    assertEquals(reason, "no Twstat here");
  }
  assert(idsOf(results, "ok").includes("S69"), "creates and removes are seen");
});

test("conformance: a server that refuses only some Twstats is not excused", async () => {
  const results = await run(() => ({
    request: (message, relay) =>
      message.type === "Twstat" && message.stat.name !== ""
        ? relay.toClient(error(message.tag, "no renames"))
        : relay.toServer(message),
  }), { only: ["S97", "S98", "S99", "S100"] });
  assertEquals(idsOf(results, "fail"), ["S98"]);
  assertEquals(idsOf(results, "ok"), ["S97", "S99", "S100"]);
});

// --- Advice
// ---------------------------------------------------------------------

/** Simulates a server that waits for the body of a frame of any size. */
const patient: Interceptor = { illegalSize: () => {} };

/**
 * Simulates a server that does not change a directory's attributes when its
 * members change.
 */
function withStillDirectories(): Interceptor {
  return {
    reply: (reply, _, relay) =>
      relay.toClient(
        reply.type === "Rstat" && reply.stat.mode >= 2 ** 31
          ? {
            ...reply,
            stat: {
              ...reply.stat,
              ...{ mtime: 1, muid: "", qid: { ...reply.stat.qid, vers: 0 } },
            },
          }
          : reply,
      ),
  };
}

test("conformance: S4 and S69 are advice, and failures in a strict run", async () => {
  for (
    const [id, interceptor] of [
      ["S4", () => patient],
      ["S69", withStillDirectories],
    ] as const
  ) {
    const only = [id, "S35"];
    const results = await run(interceptor, { only, patience: 300 });
    const advice = results.find((result) => result.id === id);
    assertEquals(idsOf(results, "advice"), [id]);
    assertEquals(idsOf(results, "ok"), ["S35"]);
    assert(advice !== undefined);
    assert((advice.frames ?? []).length > 0, "the frames of an advice");
    assertMatch(formatResult(advice), new RegExp(`^advice ${id} .*: got `));
    assert(!formatResult(advice).includes("\n"));
    const strict = { only, patience: 300, strict: true };
    assertEquals(idsOf(await run(interceptor, strict), "fail"), [id]);
  }
});

test("conformance.ts shows advice in text, JSON and counts, and ends with 0", async () => {
  const handler = makeHandler();
  const still = override(handler, {
    stat: async (fid, context) => {
      const stat = await handler.stat?.(fid, context);
      if (stat === undefined) throw new Error("no stat");
      const isDir = stat.mode >= 2 ** 31;
      return isDir ? { ...stat, mtime: 1, muid: "nobody" } : stat;
    },
  });
  await using server = await listen("tcp://127.0.0.1:0", still, quiet);
  const words = ["examples/conformance.ts", server.addr, "--only=S35,S69"];
  const text = await runScript(...words);
  assertEquals({ code: text.code, errors: text.errors }, {
    code: 0,
    errors: "",
  });
  const lines = text.output.trimEnd().split("\n");
  assertEquals(lines.map((line) => line.slice(0, 6)), [
    "ok S35",
    "advice",
    "1 pass",
  ]);
  assertEquals(lines[2], "1 passed, 0 failed, 0 skipped, 1 advice");
  const json = await runScript(...words, "--json");
  assertEquals(json.code, 0);
  const objects = json.output.trimEnd().split("\n").map((x) => JSON.parse(x));
  assertEquals(objects.map(({ status }) => status), [
    "ok",
    "advice",
    undefined,
  ]);
  const counts = { passed: 1, failed: 0, advice: 1, skipped: 0, notRun: 0 };
  assertEquals(objects[2], counts);
});

// --- Servers that die
// -------------------------------------------------------------

/** Makes a server that ends at the first Tread of an offset from 2^63 on. */
async function mortal(
  options: ConformanceOptions,
  rises = false,
): Promise<CaseResult[]> {
  await using host = await inMemory(makeHandler(), quiet);
  const links = new Set<Relay>();
  let isDead = false;
  const connect = intercept(() => {
    if (isDead) throw new Error("connection refused");
    return host.connect();
  }, () => ({
    request: (message, relay) => {
      links.add(relay);
      if (message.type !== "Tread" || message.offset < 2n ** 63n) {
        return relay.toServer(message);
      }
      isDead = !rises;
      for (const each of links) each.end();
    },
  }));
  return await resultsOf(connect, options);
}

test("conformance: a server that dies ends the run, and later cases are not run", async () => {
  const only = ["S35", "S72", "S73", "S74", "S106"];
  const results = await mortal({ only, patience: 500 });
  assertEquals(results.map(({ id, status }) => [id, status]), [
    ["S35", "ok"],
    ["S72", "ok"],
    ["S73", "fail"],
    ["S74", "not run"],
    ["S106", "not run"],
  ]);
  assertEquals(results[2].end, "server ended at S73");
  assertEquals(
    formatResult(results[2]).split("\n").at(-1),
    "server ended at S73",
  );
  assertEquals(results[3].reason, "server ended at S73");
  const count = new Count();
  for (const result of results) count.add(result);
  assertEquals(String(count), "2 passed, 1 failed, 0 skipped, 2 not run");
});

test("conformance: a server that is started again costs a case, not the run", async () => {
  const only = ["S72", "S73", "S74"];
  const results = await mortal({ only, patience: 500 }, true);
  assertEquals(results.map(({ status }) => status), ["ok", "fail", "ok"]);
  assertEquals(results[1].end, undefined);
});

test("conformance: a server that dies at an advice has failed", async () => {
  await using host = await inMemory(makeHandler(), quiet);
  let isDead = false;
  const connect = intercept(() => {
    if (isDead) throw new Error("connection refused");
    return host.connect();
  }, () => ({
    illegalSize: (relay) => {
      isDead = true;
      relay.end();
    },
  }));
  const [result] = await resultsOf(connect, { only: ["S4"], patience: 500 });
  assertEquals([result.status, result.end], ["fail", "server ended at S4"]);
});

test("conformance.ts ends with one line and 1 where the server dies", async () => {
  const fs = new MemoryFs({}, { mode: 0o777 });
  const { handler } = fs;
  const dying = override(handler, {
    walk: (node, name, request) => {
      if (name === "missing") void server.close(); // S38.
      return handler.walk(node, name, request);
    },
  });
  const options = { ...quiet, closeTimeout: 0 };
  await using server = await listen("tcp://127.0.0.1:0", dying, options);
  const { code, output } = await runScript(
    ...["examples/conformance.ts", server.addr, "--patience=200"],
    "--only=S35,S38,S61,S62,S63",
  );
  assertEquals(code, 1);
  const lines = output.trimEnd().split("\n")
    .filter((line) => !line.startsWith(" "));
  assertEquals(lines.map((line) => line.slice(0, 8)), [
    "ok S35 N",
    "FAIL S38",
    "server e",
    "1 passed",
  ]);
  assertEquals(lines[2], "server ended at S38");
  assertEquals(lines[3], "1 passed, 1 failed, 0 skipped, 3 not run");
});

// --- ramfs, and slow servers
// ------------------------------------------------------

test("conformance: S57 skips where a Twstat of mtime changes the mode, which S96 sees", async () => {
  // On 64-bit systems, ramfs takes the "don't touch" value of mode for a mode.
  const handler = makeHandler();
  const chmod = (fid: Parameters<NonNullable<typeof handler.wstat>>[0]) => {
    const { node } = fid;
    const isFile = (node.qid.type & 0x80) === 0;
    return isFile ? { mode: DMAPPEND + 0o777 } : {};
  };
  const ramfs = override(handler, {
    wstat: (fid, request, context) => {
      const { changes } = request;
      const touched = changes.mode === undefined ? chmod(fid) : {};
      return handler.wstat?.(fid, {
        ...request,
        changes: { ...changes, ...touched },
      }, context);
    },
  });
  await using host = await inMemory(ramfs, quiet);
  const only = ["S57", "S96"];
  const [s57, s96] = await resultsOf(host.connect, { only });
  assertEquals([s57.status, s96.status], ["skip", "fail"]);
  assertEquals(
    s57.reason,
    "a Twstat of nothing but mtime gave the file mode 010000000777, length 5; see S96",
  );
});

test("conformance: S77 skips where only a listing amid changes loses names", async () => {
  // ramfs counts records from the start for each read, so a name that is
  // removed
  // between two reads shifts the listing.
  const skipping = (spoilt: boolean) => () => {
    let isChanging = spoilt;
    return {
      request: (message, relay) => {
        if (message.type === "Tremove") isChanging = true;
        relay.toServer(message);
      },
      reply: (reply, request, relay) => {
        const isLater = reply.type === "Rread" && request?.type === "Tread" &&
          request.offset > 0n;
        if (!isLater || !isChanging) return relay.toClient(reply);
        try {
          const data = encodeDir(decodeDir(reply.data).slice(1));
          relay.toClient({ ...reply, data });
        } catch {
          relay.toClient(reply);
        }
      },
    } satisfies Interceptor;
  };
  const only = ["S77"];
  const [amid] = await run(skipping(false), { only });
  assertEquals(amid.status, "skip");
  assertMatch(amid.reason ?? "", /amid changes, of which the manual promises/);
  const strict = await run(skipping(false), { only, strict: true });
  assertEquals(idsOf(strict, "fail"), only);
  const always = await run(skipping(true), { only });
  assertEquals(idsOf(always, "fail"), only);
});

test("conformance: S117 skips where so many fids take too long, and names --patience", async () => {
  const results = await run(() => {
    let walks = 0;
    return {
      reply: (reply, _, relay) => {
        // Each batch of 500 Twalks is slow, as on a server that keeps its fids
        // in a list.
        if (reply.type !== "Rwalk" || ++walks % 500 > 0) {
          return relay.toClient(reply);
        }
        setTimeout(() => relay.toClient(reply), 50);
      },
    };
  }, { only: ["S117"], timeout: 3000 });
  assertEquals(results[0].status, "skip");
  assertMatch(
    results[0].reason ?? "",
    /^too slow here for 65546 fids; a larger --patience tries them$/,
  );
});

test("probeServer() says that a server speaks 9P2000.L only, as diod does", async () => {
  const connect = () => {
    const [here, there] = pair();
    // Rlerror tag NOTAG ecode EIO.
    const rlerror = [11, 0, 0, 0, 7, 0xff, 0xff, 5, 0, 0, 0];
    void there.write?.(Uint8Array.from(rlerror));
    return here;
  };
  await assertRejects(
    () => probeServer(connect),
    Error,
    "Cannot begin a session: got Rlerror, an error of 9P2000.L: the server does not speak 9P2000",
  );
});

test("formatResult() escapes what the server says", async () => {
  const evil = "\x1b[2J\nok S99 fake\x9b";
  const results = await run(() => ({
    request: (message, relay) =>
      message.type === "Tcreate" || message.type === "Tauth"
        ? relay.toClient(error(message.tag, evil))
        : relay.toServer(message),
  }), { only: ["S27", "S28", "S35"] });
  assertEquals(results.map(({ status }) => status), ["ok", "skip", "fail"]);
  for (const result of results) {
    for (const line of formatResult(result).split("\n")) {
      assert(!/\p{Cc}/u.test(line), line);
      assert(!line.startsWith("ok S99"), line);
    }
  }
});
