// Tauth and attaches with an afid: S27 to S30 of the conformance list.
import { assert, assertEquals } from "@std/assert";
import { NinePError, NOFID, ORCLOSE } from "../../codec.ts";
import { test } from "../harness.ts";
import {
  Gate,
  serveToy,
  type ToyHandler,
  ToyNode,
  type ToyScene,
  untilAborted,
} from "./toy.ts";
import { bytes, soon, T } from "./wire_client.ts";

const AFID = 9;

/**
 * A user that writes "secret" to the afid may attach. The user `free` need not.
 */
function guarded(base: ToyHandler): Partial<ToyHandler> {
  const passed = new Set<ToyNode>();
  return {
    auth: (_fid, { uname }) => {
      if (uname === "nobody") throw new NinePError("unknown user");
      return new ToyNode("auth", 100, "auth");
    },
    attach: (fid, request, context) => {
      if (
        request.uname !== "free" &&
        !(request.afid && passed.has(request.afid.node))
      ) {
        throw new NinePError("authentication failed");
      }
      return base.attach(fid, request, context);
    },
    read: (fid, request, context) =>
      fid.node.name === "auth"
        ? bytes("challenge")
        : base.read!(fid, request, context),
    write: ({ node }, { data }) => {
      if (new TextDecoder().decode(data) === "secret") passed.add(node);
    },
  };
}

for (const async of [false, true]) {
  const serveGuarded = async (): Promise<ToyScene> => {
    const scene = await serveToy((toy) => guarded(toy.handler), {
      async,
      fresh: true,
    });
    await scene.client.ask(T.version(), "Rversion 65535 8192 9P2000");
    return scene;
  };
  const how = `handler answers ${async ? "later" : "at once"}`;

  test(`serve() refuses Tauth without auth(), and the number stays free: ${how}`, async () => {
    await using scene = await serveToy({}, { async, fresh: true });
    const { client } = scene;
    await client.ask(T.version(), "Rversion 65535 8192 9P2000");
    await client.ask(T.auth(1, 0), "Rerror 1 authentication not required");
    // The way of `9p -a`.
    await client.ask(T.attach(2, 0), "Rattach 2 0");
    await client.ask(
      T.attach(3, 5, "u", "", 77),
      "Rerror 3 fid unknown or out of range",
    );
    await client.ask(T.attach(3, 5, "u", "", 0), "Rerror 3 bad use of fid");
    await client.ask(T.attach(3, 5, "u", "", NOFID), "Rattach 3 0");
  });

  // C-56.
  test(`serve() lets a client in that has done the exchange: ${how}`, async () => {
    await using scene = await serveGuarded();
    const { client } = scene;
    const reply = await client.rpc(T.auth(1, AFID, "ann", "tree"));
    assert(reply.type === "Rauth");
    assertEquals(reply.aqid, { type: 8, vers: 0, path: 100n });
    const attach = T.attach(2, 0, "ann", "tree", AFID);
    await client.ask(attach, "Rerror 2 authentication failed");
    // Offsets have no meaning for an afid.
    await client.ask(T.read(3, AFID), "Rread 3 challenge");
    await client.ask(T.write(4, AFID, "guess", 9), "Rwrite 4 5");
    await client.ask(attach, "Rerror 2 authentication failed");
    await client.ask(T.write(4, AFID, "secret", 14), "Rwrite 4 6");
    await client.ask(attach, "Rattach 2 0");
    // The afid serves several attaches, and stays usable after them.
    await client.ask(T.attach(2, 1, "ann", "tree", AFID), "Rattach 2 0");
    await client.ask(T.stat(5, AFID), "Rstat 5 auth");
    await client.ask(T.clunk(6, AFID), "Rclunk 6");
    await client.ask(
      T.attach(2, 2, "ann", "tree", AFID),
      "Rerror 2 fid unknown or out of range",
    );
    await client.ask(T.stat(7, 0), "Rstat 7 /");
  });

  test(`serve() refuses an afid of other names: ${how}`, async () => {
    await using scene = await serveGuarded();
    const { client } = scene;
    await client.rpc(T.auth(1, AFID, "ann", "tree"));
    await client.ask(T.write(4, AFID, "secret"), "Rwrite 4 6");
    for (const [uname, aname] of [["bob", "tree"], ["ann", ""], ["ann", "t"]]) {
      await client.ask(
        T.attach(2, 0, uname, aname, AFID),
        "Rerror 2 authentication failed",
      );
      await client.ask(T.stat(3, 0), "Rerror 3 fid unknown or out of range");
    }
    await client.ask(
      T.attach(2, 0, "ann", "tree"),
      "Rerror 2 authentication failed",
    );
    await client.ask(T.attach(2, 0, "free"), "Rattach 2 0");
  });

  test(`serve() does not bear a refused afid: ${how}`, async () => {
    await using scene = await serveGuarded();
    const { client } = scene;
    await client.ask(T.auth(1, AFID, "nobody"), "Rerror 1 unknown user");
    await client.ask(T.stat(2, AFID), "Rerror 2 fid unknown or out of range");
    await client.ask(T.attach(2, AFID, "free"), "Rattach 2 0");
    await client.ask(T.auth(3, AFID, "ann"), "Rerror 3 fid already in use");
    assertEquals((await client.rpc(T.auth(3, NOFID, "ann"))).type, "Rerror");
  });

  test(`serve() takes an afid for nothing else: ${how}`, async () => {
    await using scene = await serveGuarded();
    const { client } = scene;
    await client.rpc(T.auth(1, AFID, "ann"));
    const no = "Rerror 2 bad use of fid";
    for (
      const request of [
        T.walk(2, AFID, 10),
        T.walk(2, AFID, AFID),
        T.walk(2, AFID, 10, "a"),
        T.open(2, AFID),
        T.open(2, AFID, ORCLOSE),
        T.create(2, AFID, "n"),
        T.wstat(2, AFID),
        T.wstat(2, AFID, { name: "n" }),
      ]
    ) await client.ask(request, no);
    const reply = await client.rpc(T.call(2, AFID));
    assert(reply.type === "Rerror");
    assertEquals(JSON.parse(reply.ename).str, "bad use of fid");
    await client.ask(T.stat(3, 10), "Rerror 3 fid unknown or out of range");
    await client.ask(T.stat(3, AFID), "Rstat 3 auth");
    // As with every Tremove, the fid is gone.
    await client.ask(T.remove(2, AFID), no);
    await client.ask(T.stat(3, AFID), "Rerror 3 fid unknown or out of range");
    assertEquals(scene.takeLog(), ["clunk 9"]);
  });

  test(`serve() ignores offsets in the exchange: ${how}`, async () => {
    await using scene = await serveGuarded();
    const { client } = scene;
    await client.rpc(T.auth(1, AFID, "ann"));
    for (const offset of [0n, 2n ** 53n, 2n ** 64n - 1n]) {
      await client.ask(T.read(3, AFID, offset), "Rread 3 challenge");
      await client.ask(T.write(4, AFID, "guess", offset), "Rwrite 4 5");
    }
  });
}

test("serve() clunks an afid when the connection ends", async () => {
  await using scene = await serveToy((toy) => guarded(toy.handler), {
    fresh: true,
  });
  const { client } = scene;
  client.send(T.version(), T.auth(1, AFID, "ann"));
  await client.expect("Rversion 65535 8192 9P2000", "Rauth 1 100");
  client.close();
  await soon(scene.served);
  assertEquals(scene.takeLog(), ["clunk 9", "disconnect"]);
});

for (const end of ["answered", "refused", "flushed", "aborted"] as const) {
  test(`serve() ends an afid when the attach that works with it is ${end}`, async () => {
    const gate = new Gate();
    await using scene = await serveToy((toy) => ({
      ...guarded(toy.handler),
      attach: async (_fid, _request, { signal }) => {
        await Promise.race([gate.passed, untilAborted(signal)]);
        return toy.root;
      },
    }), { fresh: true });
    const { client } = scene;
    client.send(T.version(), T.auth(1, AFID, "ann"));
    await client.expect("Rversion 65535 8192 9P2000", "Rauth 1 100");
    client.send(T.attach(2, 0, "ann", "", AFID), T.clunk(3, AFID));
    await client.quiet();
    // The afid still exists, but its clunk comes before all later requests.
    await client.ask(T.attach(4, 5, "bob", "", AFID), FAILED);
    client.send(T.stat(5, AFID));
    await client.quiet();
    assertEquals(scene.takeLog(), []);
    const done = ["Rclunk 3", "Rerror 5 fid unknown or out of range"];
    if (end === "answered") {
      gate.open();
      await client.expectSome("Rattach 2 0", ...done);
    } else if (end === "refused") {
      gate.shut(new NinePError("no"));
      await client.expectSome("Rerror 2 no", ...done);
    } else if (end === "flushed") {
      client.send(T.flush(6, 2));
      await client.expectSome("Rflush 6", ...done);
    } else {
      client.close();
      await soon(scene.served);
    }
    assertEquals(
      scene.takeLog().filter((line) => line === "clunk 9").length,
      1,
    );
  });
}

const FAILED = "Rerror 4 authentication failed";

test("serve() refuses a node of auth() that is no authentication file", async () => {
  await using scene = await serveToy({
    auth: () => new ToyNode("plain", 100, ""),
  });
  const { client } = scene;
  await client.ask(T.auth(1, AFID), "Rerror 1 i/o error");
  await client.ask(T.stat(1, AFID), "Rerror 1 fid unknown or out of range");
  assertEquals(scene.takeErrors().length, 1);
});
