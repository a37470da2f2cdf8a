// Session: the loop over requests.
import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { NinePError, ORDWR, QTAUTH, QTDIR } from "../../codec.ts";
import {
  type FidNode,
  Session,
  type SessionLoopOptions,
  type SessionRequest,
} from "../../server.ts";
import { pair } from "../../transport.ts";
import { test } from "../harness.ts";
import { Gate, nextTask, statOf, Toy, type ToyNode } from "./toy.ts";
import { bytes, soon, T, WireClient } from "./wire_client.ts";

const toy = new Toy();

type Request = SessionRequest<ToyNode>;

/** A session, its client, and the requests that wait in the loop. */
class Scene implements AsyncDisposable {
  readonly session: Session<ToyNode>;
  readonly client: WireClient;
  readonly requests: AsyncIterator<Request, void, void>;
  readonly errors: unknown[] = [];

  constructor(options: SessionLoopOptions<ToyNode> = {}) {
    const [near, far] = pair();
    this.client = new WireClient(near);
    this.session = new Session(far, {
      onError: (error) => this.errors.push(error),
      ...options,
    });
    this.requests = this.session[Symbol.asyncIterator]();
  }

  /** Returns the next request, which must be of a type. */
  async take<Type extends Request["type"]>(
    type: Type,
  ): Promise<Extract<Request, { type: Type }>> {
    const { value } = await soon(this.requests.next());
    assert(value, `${type} expected, the session ended`);
    assertEquals(value.type, type);
    return value as Extract<Request, { type: Type }>; // The type was checked above.
  }

  /** Version and attach of fid 0. */
  async start(): Promise<void> {
    this.client.send(T.version(), T.attach(0, 0));
    (await this.take("Tattach")).respond({ node: toy.root });
    await this.client.expect("Rversion 65535 8192 9P2000", "Rattach 0 0");
  }

  /** Fid 1 at `a`, open. */
  async openA(): Promise<void> {
    this.client.send(T.walk(1, 0, 1, "a"));
    (await this.take("Twalk")).respond({ nodes: [toy.a] });
    await this.client.expect("Rwalk 1 1");
    this.client.send(T.open(1, 1, ORDWR));
    (await this.take("Topen")).respond();
    await this.client.expect("Ropen 1 1");
  }

  /** Checks that the session has ended. */
  async end(): Promise<void> {
    assertEquals(await soon(this.requests.next()), {
      value: undefined,
      done: true,
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.client.close();
    await soon(this.session.close());
    assertEquals(this.errors, []);
  }
}

async function start(
  options: SessionLoopOptions<ToyNode> = {},
): Promise<Scene> {
  const scene = new Scene(options);
  await scene.start();
  return scene;
}

test("Session gives each kind of request, and sends its answer", async () => {
  await using scene = new Scene();
  const { client, session } = scene;
  client.send(T.version(), T.auth(1, 9, "ann", "tree"));
  const auth = await scene.take("Tauth");
  assertEquals(
    [auth.tag, auth.uname, auth.aname, auth.fid.fid, auth.context.peer],
    [1, "ann", "tree", 9, "pair"],
  );
  const node = {
    ...toy.a,
    qid: { type: QTAUTH, vers: 0, path: 77n },
  } as ToyNode; // Its fields, with another qid.
  auth.respond({ node });
  await client.expect("Rversion 65535 8192 9P2000", "Rauth 1 77");

  client.send(T.attach(2, 0, "ann", "tree", 9));
  const attach = await scene.take("Tattach");
  assertEquals([attach.uname, attach.aname], ["ann", "tree"]);
  assertEquals(attach.afid?.node, node);
  attach.respond({ node: toy.root });
  await client.expect("Rattach 2 0");

  client.send(T.walk(3, 0, 1, "d", "x"));
  const walk = await scene.take("Twalk");
  assertEquals(walk.wname, ["d", "x"]);
  assertEquals([walk.fid.fid, walk.newfid.fid], [0, 1]);
  assertEquals(walk.fid.node, toy.root);
  walk.respond({ nodes: [toy.d, toy.x] });
  await client.expect("Rwalk 3 2,3");

  client.send(T.open(4, 1, ORDWR));
  const open = await scene.take("Topen");
  assertEquals([open.mode, open.fid.node.name, open.fid.open], [
    ORDWR,
    "x",
    false,
  ]);
  open.respond({ iounit: 100 });
  await client.expect("Ropen 4 3");
  assert(open.fid.open && open.fid.readable && open.fid.writable);

  client.send(T.read(5, 1, 10, 20));
  const read = await scene.take("Tread");
  assertEquals([read.offset, read.count], [10, 20]);
  read.respond({ data: bytes("data") });
  await client.expect("Rread 5 data");

  client.send(T.write(6, 1, "more", 30), T.write(7, 1, "most", 40));
  const write = await scene.take("Twrite");
  assertEquals([write.offset, write.data], [30, bytes("more")]);
  write.respond({});
  (await scene.take("Twrite")).respond({ count: 2 });
  await client.expect("Rwrite 6 4", "Rwrite 7 2");

  client.send(T.stat(8, 1));
  (await scene.take("Tstat")).respond({ stat: statOf(toy.x) });
  await client.expect("Rstat 8 x");

  client.send(T.wstat(9, 1, { name: "y", mtime: 5 }));
  const wstat = await scene.take("Twstat");
  assertEquals(wstat.changes, { name: "y", mtime: 5 });
  wstat.respond();
  await client.expect("Rwstat 9");

  client.send(T.call(10, 1, "{}", "payload"));
  const call = await scene.take("Tcall");
  assertEquals([call.text, call.data], ["{}", bytes("payload")]);
  call.respond({ data: bytes("42") });
  await client.expect("Rcall 10 0 42");

  client.send(T.walk(11, 0, 2));
  (await scene.take("Twalk")).respond({ nodes: [] });
  await client.expect("Rwalk 11");
  client.send(T.create(12, 2, "n", 0o600, 1));
  const create = await scene.take("Tcreate");
  assertEquals([create.name, create.perm, create.mode], ["n", 0o600, 1]);
  create.respond({ node: toy.a });
  await client.expect("Rcreate 12 1");
  assertEquals(session.fids.get(2)?.node, toy.a);

  client.send(T.remove(13, 2));
  const remove = await scene.take("Tremove");
  assertEquals(remove.fid.node, toy.a);
  remove.respond();
  client.send(T.clunk(14, 1));
  (await scene.take("Tclunk")).respond();
  await client.expect("Rremove 13", "Rclunk 14");
  assertEquals([...session.fids.keys()].sort(), [0, 9]);
});

test("Session sends the error of each kind of request", async () => {
  await using scene = await start();
  const { client } = scene;
  await scene.openA();
  client.send(T.walk(1, 0, 2));
  (await scene.take("Twalk")).respond({ nodes: [] });
  await client.expect("Rwalk 1");
  for (
    const request of [
      T.auth(1, 9),
      T.attach(1, 9),
      T.walk(1, 0, 9, "no"),
      T.open(1, 2),
      T.create(1, 2, "n"),
      T.read(1, 1),
      T.write(1, 1, "x"),
      T.stat(1, 1),
      T.wstat(1, 1),
      T.remove(1, 1),
      T.clunk(1, 2),
    ]
  ) {
    client.send(request);
    const { value } = await soon(scene.requests.next());
    assert(value);
    assertEquals(value.type, request.type);
    value.error(new NinePError("quota was used"));
    await client.expect("Rerror 1 quota was used");
  }
  assertEquals([...scene.session.fids.keys()], [0]);
  client.send(T.stat(1, 0));
  (await scene.take("Tstat")).error(new Error("secret"));
  await client.expect("Rerror 1 i/o error");
  assertEquals(scene.errors.splice(0).map(String), ["Error: secret"]);
});

// C-50.
test("Session takes answers in any order, at any time", async () => {
  await using scene = await start();
  const { client } = scene;
  client.send(T.stat(1, 0), T.stat(2, 0), T.stat(3, 0));
  const requests = [];
  for (let i = 0; i < 3; i++) requests.push(await scene.take("Tstat"));
  assertEquals(requests.map(({ tag }) => tag), [1, 2, 3]);
  requests[2].respond({ stat: statOf(toy.root) });
  await nextTask();
  requests[0].error(new NinePError("no"));
  await client.expect("Rstat 3 /", "Rerror 1 no");
  requests[1].respond({ stat: statOf(toy.root) });
  await client.expect("Rstat 2 /");
});

test("Session does not take a second answer", async () => {
  await using scene = await start();
  const { client } = scene;
  for (const first of ["respond", "error"] as const) {
    client.send(T.stat(1, 0));
    const request = await scene.take("Tstat");
    if (first === "respond") request.respond({ stat: statOf(toy.root) });
    else request.error(new NinePError("no"));
    const answer = { stat: statOf(toy.root) };
    const message = "Cannot answer Tstat of tag 1: it was answered before";
    assertThrows(() => request.respond(answer), TypeError, message);
    assertThrows(() => request.error(new Error("x")), TypeError, message);
    await client.expect(first === "respond" ? "Rstat 1 /" : "Rerror 1 no");
    await client.quiet();
  }
  // An invalid answer counts as an answer.
  client.send(T.read(1, 0), T.stat(2, 0));
  await client.expect("Rerror 1 bad use of fid");
  const request = await scene.take("Tstat");
  request.respond({
    stat: { ...statOf(new Toy().a), name: "n".repeat(70_000) },
  });
  assertThrows(() => request.error(new NinePError("no")), TypeError);
  assertEquals((await client.next()).type, "Rerror");
  scene.errors.length = 0;
});

test("Session gives legal requests only", async () => {
  await using scene = await start();
  const { client } = scene;
  client.send(
    T.stat(1, 5),
    T.walk(2, 0, 0xffffffff),
    T.create(3, 0, "a/b"),
    T.read(4, 0),
    T.attach(5, 0),
    T.flush(6, 99),
    T.stat(7, 0),
  );
  const request = await scene.take("Tstat");
  assertEquals(request.tag, 7);
  request.respond({ stat: statOf(toy.root) });
  for (const tag of [1, 2, 3, 4, 5]) {
    const reply = await client.next();
    assertEquals([reply.type, reply.tag], ["Rerror", tag]);
  }
  await client.expect("Rflush 6", "Rstat 7 /");
});

test("Session shows its fids, its msize, its version, its peer", async () => {
  await using scene = new Scene({ msize: 5000 });
  const { client, session } = scene;
  assertEquals([session.version, session.msize, session.peer], [
    "",
    5000,
    "pair",
  ]);
  client.send(T.version(4000, "9P2000.L"), T.attach(1, 7, "ann", "x"));
  const attach = await scene.take("Tattach");
  assertEquals([session.version, session.msize], ["9P2000", 4000]);
  attach.respond({ node: toy.root });
  await client.expect(
    "Rversion 65535 4000 9P2000",
    "Rattach 1 7".slice(0, 9) + " 0",
  );
  assertEquals([...session.fids.keys()], [7]);
  const fid = session.fids.get(7);
  assert(fid);
  assertEquals(
    [fid.fid, fid.uname, fid.aname, fid.node, fid.mode, fid.open],
    [7, "ann", "x", toy.root, -1, false],
  );
  client.send(T.walk(2, 7, 8, "no"));
  (await scene.take("Twalk")).respond({ nodes: [] });
  await client.expect("Rerror 2 file does not exist");
  assertEquals([...session.fids.keys()], [7]);
  client.send(T.version());
  await client.expect("Rversion 65535 5000 9P2000");
  assertEquals([...session.fids.keys()], []);
});

test("Session does not show fids whose walk, auth or attach is in progress", async () => {
  await using scene = await start();
  const { client, session } = scene;
  const { fids } = session;
  client.send(T.walk(1, 0, 1, "a"), T.auth(2, 2), T.attach(3, 3));
  const walk = await scene.take("Twalk");
  const auth = await scene.take("Tauth");
  const attach = await scene.take("Tattach");
  assertEquals([fids.size, ...fids.keys()], [1, 0]);
  assertEquals([fids.has(1), fids.get(1)], [false, undefined]);
  walk.respond({ nodes: [toy.a] });
  auth.error(new NinePError("no"));
  attach.respond({ node: toy.root });
  await client.expect("Rwalk 1 1", "Rerror 2 no", "Rattach 3 0");
  assertEquals([fids.size, ...fids.keys()], [3, 0, 1, 3]);
  assertEquals([...fids.values()].map(({ node }) => node), [
    toy.root,
    toy.a,
    toy.root,
  ]);
  const seen: unknown[] = [];
  fids.forEach((fid, key, map) => seen.push(key, fid.fid, map === fids));
  assertEquals(seen, [0, 0, true, 1, 1, true, 3, 3, true]);
  assertEquals([...fids.entries()], [...fids]);
});

test("Session calls onRelease for fids that end without a request", async () => {
  const released: number[] = [];
  await using scene = await start({
    onRelease: ({ fid }) => released.push(fid),
  });
  const { client } = scene;
  await scene.openA();
  client.send(T.walk(1, 0, 2, "d"), T.clunk(2, 1));
  (await scene.take("Twalk")).respond({ nodes: [toy.d] });
  (await scene.take("Tclunk")).respond();
  await client.expect("Rwalk 1 2", "Rclunk 2");
  // A clunk and a walk are in progress. The clunk has ended its fid, and the
  // walk has not created one.
  client.send(T.clunk(3, 2), T.walk(4, 0, 9, "a"), T.version());
  await client.expect("Rversion 65535 8192 9P2000");
  assertEquals(released, [2, 0]);
  client.send(T.attach(1, 7));
  (await scene.take("Tattach")).respond({ node: toy.root });
  await client.expect("Rattach 1 0");
  client.close();
  await scene.end();
  assertEquals(released, [2, 0, 7]);
});

test("Session creates newfid only when the answer has all nodes", async () => {
  await using scene = await start();
  const { client } = scene;
  client.send(T.walk(1, 0, 1, "d", "x"));
  (await scene.take("Twalk")).respond({ nodes: [toy.d] });
  await client.expect("Rwalk 1 2");
  assertEquals(scene.session.fids.has(1), false);
  client.send(T.walk(1, 0, 1, "d"));
  (await scene.take("Twalk")).respond({ nodes: [toy.d, toy.x] });
  await client.expect("Rerror 1 i/o error");
  assertEquals(scene.errors.splice(0).length, 1);
  assertEquals(scene.session.fids.has(1), false);
});

test("Session aborts the signal of a request that is flushed", async () => {
  await using scene = await start();
  const { client } = scene;
  await scene.openA();
  client.send(T.read(5, 1));
  const read = await scene.take("Tread");
  assertEquals(read.context.signal.aborted, false);
  client.send(T.flush(6, 5));
  await soon(
    new Promise((resolve) =>
      read.context.signal.addEventListener("abort", resolve)
    ),
  );
  read.error(new NinePError("Interrupted system call"));
  await client.expect("Rflush 6");

  // The program may still answer the request.
  client.send(T.wstat(5, 1));
  const late = await scene.take("Twstat");
  client.send(T.flush(6, 5));
  await client.quiet();
  late.respond();
  await client.expect("Rwstat 5", "Rflush 6");
});

test("Session does not give a request that was flushed before", async () => {
  await using scene = await start();
  const { client } = scene;
  await scene.openA();
  client.send(
    T.write(1, 1, "no"),
    T.walk(2, 0, 2, "a"),
    T.read(3, 1),
    T.flush(4, 3),
    T.flush(5, 2),
    T.flush(6, 1),
    T.stat(7, 0),
  );
  await client.expect("Rflush 4", "Rflush 5", "Rflush 6");
  const stat = await scene.take("Tstat");
  assertEquals(stat.tag, 7);
  assertEquals(scene.session.fids.has(2), false);
  stat.respond({ stat: statOf(toy.root) });
  await client.expect("Rstat 7 /");
});

test("Session gives the end of a fid, though it was flushed before", async () => {
  await using scene = await start();
  const { client } = scene;
  await scene.openA();
  client.send(T.clunk(1, 1), T.flush(2, 1));
  await client.quiet();
  (await scene.take("Tclunk")).respond();
  await client.expect("Rclunk 1", "Rflush 2");
});

test("Session ends its loop when the client goes", async () => {
  await using scene = await start();
  const { client } = scene;
  await scene.openA();
  client.send(T.read(1, 1), T.stat(2, 0));
  const read = await scene.take("Tread");
  const stat = await scene.take("Tstat");
  const { signal } = stat.context;
  client.close();
  await soon(
    new Promise((resolve) => signal.addEventListener("abort", resolve)),
  );
  // These answers have no effect.
  read.respond({ data: bytes("x") });
  stat.error(new NinePError("no"));
  await scene.end();
});

test("Session is closed by leaving the loop", async () => {
  const [near, far] = pair();
  const client = new WireClient(near);
  const session = new Session<FidNode>(far);
  client.send(T.version(), T.attach(0, 0), T.auth(1, 5), T.auth(2, 6));
  for await (const request of session) {
    assertEquals(request.type, "Tattach");
    break;
  }
  await client.expect("Rversion 65535 8192 9P2000");
  await client.end();
  client.close();
});

test("Session sends what was answered before the loop was left", async () => {
  const [near, far] = pair();
  const client = new WireClient(near);
  const session = new Session<ToyNode>(far);
  client.send(T.version(), T.attach(0, 0));
  for await (const request of session) {
    assert(request.type === "Tattach");
    request.respond({ node: toy.root });
    break;
  }
  await client.expect("Rversion 65535 8192 9P2000", "Rattach 0 0");
  await client.end();
  client.close();
});

test("Session: close() does not wait for requests that the loop has not taken", async () => {
  const [near, far] = pair();
  const client = new WireClient(near);
  const session = new Session<ToyNode>(far);
  client.send(
    T.version(),
    T.attach(0, 0),
    T.walk(1, 0, 1),
    T.walk(2, 0, 2),
    T.clunk(3, 2),
    T.auth(4, 5),
  );
  for await (const request of session) {
    assert(request.type === "Tattach");
    request.respond({ node: toy.root });
    await nextTask();
    break;
  }
  await soon(session.close());
  client.close();
});

test("Session is closed by an error in the loop", async () => {
  const [near, far] = pair();
  const client = new WireClient(near);
  const session = new Session<FidNode>(far);
  client.send(T.version(), T.attach(0, 0));
  await assertRejects(
    async () => {
      for await (const request of session) throw new Error(request.type);
    },
    Error,
    "Tattach",
  );
  await client.expect("Rversion 65535 8192 9P2000");
  await client.end();
  client.close();
});

test("Session has one loop", async () => {
  await using scene = await start();
  const second = scene.session[Symbol.asyncIterator]();
  await assertRejects(
    () => second.next(),
    TypeError,
    "Cannot iterate a session twice",
  );
});

test("Session: close() may come first, twice, and in the middle", async () => {
  const never = new Scene();
  await soon(never.session.close());
  await never.end();
  await soon(never.session.close());
  never.client.close();

  const scene = await start();
  scene.client.send(T.stat(1, 0));
  const request = await scene.take("Tstat");
  const next = scene.requests.next();
  const closed = Promise.all([scene.session.close(), scene.session.close()]);
  await soon(next);
  request.respond({ stat: statOf(toy.root) });
  await soon(closed);
  await scene.client.end();
  scene.client.close();
});

test("Session refuses an msize that is out of range", () => {
  for (const msize of [0, 255, NaN, 2 ** 32, -1]) {
    const [near, far] = pair();
    assertThrows(() => new Session(far, { msize }), RangeError);
    near.close();
    far.close();
  }
});

test("Session holds back a request for a fid that another one has for itself", async () => {
  await using scene = await start();
  const { client } = scene;
  client.send(
    T.walk(1, 0, 1, "a"),
    T.open(2, 1),
    T.clunk(3, 1),
    T.stat(4, 0),
  );
  const walk = await scene.take("Twalk");
  const stat = await scene.take("Tstat");
  stat.respond({ stat: statOf(toy.root) });
  await client.expect("Rstat 4 /");
  walk.respond({ nodes: [toy.a] });
  const open = await scene.take("Topen");
  assertEquals(open.fid.node, toy.a);
  open.respond();
  (await scene.take("Tclunk")).respond();
  await client.expect("Rwalk 1 1", "Ropen 2 1", "Rclunk 3");
});

test("Session does not give requests that an end of their session overtook", async () => {
  await using scene = await start();
  const { client } = scene;
  client.send(T.walk(1, 0, 1, "a"), T.stat(2, 0), T.remove(3, 0));
  client.send(T.version(), T.attach(4, 0));
  await nextTask();
  const attach = await scene.take("Tattach");
  attach.respond({ node: toy.root });
  await client.expect("Rversion 65535 8192 9P2000", "Rattach 4 0");
});

test("Session gives reads of directories, and holds them to their offsets", async () => {
  await using scene = await start();
  const { client } = scene;
  const root: FidNode = { qid: { type: QTDIR, vers: 0, path: 0n } };
  assertEquals(root.qid.type, toy.root.qid.type);
  client.send(T.open(1, 0));
  (await scene.take("Topen")).respond();
  await client.expect("Ropen 1 0");
  await client.ask(
    T.read(2, 0, 5),
    "Rerror 2 bad offset in directory read",
  );
  client.send(T.read(2, 0, 0));
  (await scene.take("Tread")).respond({ data: bytes("12345") });
  await client.expect("Rread 2 12345");
  client.send(T.read(2, 0, 5));
  (await scene.take("Tread")).respond({ data: bytes("") });
  await client.expect("Rread 2");
});

test("Session lets go of a loop that waits when it is closed", async () => {
  const gate = new Gate();
  const [near, far] = pair();
  const session = new Session<FidNode>(far);
  const loop = (async () => {
    gate.open();
    for await (const _ of session);
  })();
  await gate.passed;
  await soon(session.close());
  await soon(loop);
  near.close();
});
