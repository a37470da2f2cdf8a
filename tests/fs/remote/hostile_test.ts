// A RemoteFs whose far server breaks the rules, or answers nothing: the near
// server goes on, and no near client waits for ever.
import { assert, assertEquals, assertRejects } from "@std/assert";
import { type Client, connect } from "../../../client.ts";
import {
  DMDIR,
  encodeStat,
  NinePError,
  ORDWR,
  OREAD,
  QTDIR,
  type Tmessage,
} from "../../../codec.ts";
import {
  MemoryFs,
  mount,
  RemoteFs,
  type RemoteFsOptions,
} from "../../../fs/mod.ts";
import { serve } from "../../../server.ts";
import { pair } from "../../../transport.ts";
import { test } from "../../harness.ts";
import {
  defaultReply,
  qid,
  type Reply,
  type ScriptedServer,
  start,
  stat,
} from "../../client/scripted.ts";
import { until } from "./remote_host.ts";
import { soon, T, WireClient } from "../../server/wire_client.ts";

const EMPTY = new Uint8Array(0);

interface Play extends AsyncDisposable {
  readonly server: ScriptedServer;
  readonly tree: RemoteFs;
  readonly near: WireClient;
  /** The near session; resolves when it has ended. */
  readonly served: Promise<void>;
  readonly errors: unknown[];
  /** Connects a further near client. */
  dial(): Promise<Client>;
}

/**
 * Default answers of the far server: `d…` is a directory, `none` is missing.
 */
function usual(request: Tmessage): Reply | undefined {
  switch (request.type) {
    case "Twalk": {
      if (request.wname.includes("none")) {
        return { type: "Rerror", ename: "file does not exist" };
      }
      const wqid = request.wname.map((name, i) =>
        qid(i + 1, name.startsWith("d") ? QTDIR : 0)
      );
      return { type: "Rwalk", wqid };
    }
    case "Tstat": // The root; a test that wants another file says so.
      return { type: "Rstat", stat: root };
    case "Tread":
      return { type: "Rread", data: EMPTY };
    default:
      return undefined;
  }
}

const root = { ...stat("/", 0, DMDIR + 0o755), qid: qid(0, QTDIR) };

/** Plays the far server of a near client, whose fid 0 is the root. */
async function play(
  answer: (request: Tmessage) => Reply | "nothing" | undefined,
  options: RemoteFsOptions = {},
): Promise<Play> {
  const scene = await start({ closeTimeout: 0 });
  const { server, client } = scene;
  let begun = false;
  const loop = async () => {
    for (
      let request = await server.next();
      request !== null;
      request = await server.next()
    ) {
      const reply = begun ? answer(request) : undefined;
      if (reply === "nothing") continue;
      const other = reply ?? usual(request) ?? defaultReply(request);
      if (other !== undefined) server.answer(request, other);
    }
  };
  const running = loop();
  const tree = new RemoteFs(client, options);
  const errors: unknown[] = [];
  const all: Promise<void>[] = [];
  const open = () => {
    const [near, end] = pair();
    all.push(
      serve(end, tree, { onError: (error) => errors.push(error) }),
    );
    return near;
  };
  const near = new WireClient(open());
  const [served = Promise.resolve()] = all;
  await near.start(8192);
  begun = true;
  const clients: Client[] = [];
  return {
    server,
    tree,
    near,
    served,
    errors,
    async dial() {
      const client = await connect(open());
      clients.push(client);
      return client;
    },
    async [Symbol.asyncDispose]() {
      for (const client of clients) await client.close();
      near.close();
      await soon(Promise.all(all));
      await client.close();
      await soon(running);
      server.close();
    },
  };
}

test("RemoteFs: a far reply with more bytes than asked for is an error of that request", async () => {
  await using p = await play((request) =>
    request.type === "Tread"
      ? { type: "Rread", data: new Uint8Array(request.count + 1) }
      : request.type === "Twrite"
      ? { type: "Rwrite", count: request.data.length + 1 }
      : undefined
  );
  await p.near.rpc(T.walk(1, 0, 1, "f"));
  await p.near.rpc(T.open(1, 1, ORDWR));
  await p.near.ask(T.read(1, 1), "Rerror 1 protocol botch");
  await p.near.ask(T.write(1, 1, "text"), "Rerror 1 protocol botch");
  await p.near.ask(T.stat(1, 0), "Rstat 1 /");
  await p.near.ask(T.clunk(1, 1), "Rclunk 1");
});

test("RemoteFs: a file that turns into a directory is refused, and back", async () => {
  let isTurned = false;
  await using p = await play((request) => {
    if (!isTurned) return undefined;
    if (request.type === "Topen") {
      return { type: "Ropen", qid: qid(1, QTDIR), iounit: 0 };
    }
    if (request.type === "Tstat") {
      return { type: "Rstat", stat: stat("x", 0, 0) };
    }
    if (request.type === "Tcreate") {
      return { type: "Rcreate", qid: qid(9, QTDIR), iounit: 0 };
    }
  });
  await p.near.rpc(T.walk(1, 0, 1, "f"));
  isTurned = true;
  await p.near.ask(T.open(1, 1), "Rerror 1 protocol botch");
  await p.near.ask(T.stat(1, 0), "Rerror 1 protocol botch");
  await p.near.rpc(T.walk(1, 0, 2));
  await p.near.ask(T.create(1, 2, "new"), "Rerror 1 protocol botch");
  await p.near.ask(T.clunk(1, 1), "Rclunk 1");
});

/** Plays a directory `d` whose reads give these data. */
function directory(data: (read: number) => Uint8Array) {
  let reads = 0;
  return (request: Tmessage): Reply | undefined => {
    if (request.type === "Topen") {
      return { type: "Ropen", qid: qid(1, QTDIR), iounit: 0 };
    }
    if (request.type !== "Tread") return undefined;
    return { type: "Rread", data: data(reads++) };
  };
}

const record = (name: string) => encodeStat(stat(name));

test("RemoteFs: names that no member can have are left out", async () => {
  const names = [".", "..", "a/b", "", "good", "/etc"];
  const all = names.map(record);
  await using p = await play(directory((read) => all[read] ?? EMPTY));
  const near = await p.dial();
  assertEquals(await near.readDirNames("d"), ["good"]);
});

test("RemoteFs: records that are cut anywhere are put together", async () => {
  const all = new Uint8Array([...record("one"), ...record("two")]);
  for (const size of [1, 2, 7, 60]) {
    await using p = await play(
      directory((read) => all.subarray(read * size, (read + 1) * size)),
    );
    const near = await p.dial();
    assertEquals(await near.readDirNames("d"), ["one", "two"]);
  }
});

test("RemoteFs: a record that is none, or is cut for good, is an error", async () => {
  const bad = record("x");
  bad[2] = 0xff;
  for (
    const data of [
      new Uint8Array([5, 0, 1, 2, 3, 4, 5]),
      record("x").subarray(1),
    ]
  ) {
    await using p = await play(
      directory((read) => read === 0 ? data : EMPTY),
    );
    const near = await p.dial();
    const error = await assertRejects(
      () => near.readDirNames("d"),
      NinePError,
    );
    assertEquals(error.ename, "protocol botch");
  }
});

test("RemoteFs: a directory without an end is read only as far as the near client reads", async () => {
  let reads = 0;
  await using p = await play(directory((read) => {
    reads = read;
    return new Uint8Array([...record(`a${read}`), ...record(`b${read}`)]);
  }));
  await p.near.rpc(T.walk(1, 0, 1, "d"));
  await p.near.rpc(T.open(1, 1));
  const { length } = await soon((async () => {
    const reply = await p.near.rpc(T.read(1, 1, 0, 1000));
    assert(reply.type === "Rread");
    return reply.data;
  })());
  assert(length > 0 && length <= 1000);
  assert(reads <= 20, `${reads} reads`);
  await p.near.ask(T.clunk(1, 1), "Rclunk 1");
});

/** Leaves the requests of some types without an answer. */
function silent(...types: string[]) {
  return ({ type }: Tmessage) =>
    types.includes(type) ? "nothing" as const : undefined;
}

for (const types of [["Tread", "Tcall"], ["Tread", "Tcall", "Tflush"]]) {
  test(`RemoteFs: a near flush is answered although the far server does not answer ${types}`, async () => {
    await using p = await play(silent(...types));
    await p.near.rpc(T.walk(1, 0, 1, "f"));
    await p.near.rpc(T.open(1, 1, ORDWR));
    p.near.send(T.read(2, 1), T.flush(3, 2));
    await p.near.expect("Rflush 3");
    p.near.send(T.call(4, 1), T.flush(5, 4));
    await p.near.expect("Rflush 5");
    await p.near.ask(T.stat(6, 0), "Rstat 6 /");
    assert(p.server.log.some(({ type }) => type === "Tflush"));
  });
}

for (
  const request of ["Twalk", "Topen", "Tcreate", "Tstat", "Twstat", "Tremove"]
) {
  test(`RemoteFs: a near flush of a ${request} is answered although the far server is silent`, async () => {
    let isSilent = false;
    await using p = await play(() => isSilent ? "nothing" : undefined);
    await p.near.rpc(T.walk(1, 0, 1, "f"));
    await p.near.rpc(T.walk(1, 0, 2));
    isSilent = true;
    switch (request) {
      case "Twalk":
        p.near.send(T.walk(2, 0, 3, "g"));
        break;
      case "Topen":
        p.near.send(T.open(2, 1));
        break;
      case "Tcreate":
        p.near.send(T.create(2, 2, "new"));
        break;
      case "Tstat":
        p.near.send(T.stat(2, 1));
        break;
      case "Twstat":
        p.near.send(T.wstat(2, 1, { mode: 0o600 }));
        break;
      case "Tremove":
        p.near.send(T.remove(2, 1));
        break;
    }
    p.near.send(T.flush(3, 2));
    // The fid of a Tremove is gone: its reply says so.
    if (request === "Tremove") {
      await p.near.expect("Rerror 2 Interrupted system call");
    }
    await p.near.expect("Rflush 3");
  });
}

test("RemoteFs: a near Tclunk waits no longer for the far server than closeTimeout", async () => {
  await using p = await play(silent("Tclunk", "Tflush"), { closeTimeout: 20 });
  await p.near.rpc(T.walk(1, 0, 1, "f"));
  await p.near.rpc(T.open(1, 1));
  await p.near.ask(T.clunk(1, 1), "Rerror 1 Connection timed out");
});

test("RemoteFs: the near session ends although the far server answers nothing", async () => {
  let isSilent = false;
  await using p = await play(
    () => isSilent ? "nothing" : undefined,
    { closeTimeout: 20 },
  );
  await p.near.rpc(T.walk(1, 0, 1, "f"));
  await p.near.rpc(T.open(1, 1, ORDWR));
  await p.near.rpc(T.write(1, 1, "text"));
  await p.near.rpc(T.walk(1, 0, 2, "f"));
  isSilent = true;
  p.near.send(T.read(2, 1), T.call(3, 1), T.read(4, 2), T.walk(5, 0, 3, "g"));
  p.near.send(T.open(6, 2), T.stat(7, 0));
  await p.near.quiet();
  p.near.close();
  await soon(p.served);
});

test("RemoteFs: a near session starts anew although the far server answers nothing", async () => {
  const listing = directory(() => record("a"));
  await using p = await play((request) =>
    request.type === "Tread" || request.type === "Tflush"
      ? "nothing"
      : listing(request)
  );
  await p.near.rpc(T.walk(1, 0, 1, "d"));
  await p.near.rpc(T.open(1, 1, OREAD));
  p.near.send(T.read(2, 1));
  await p.near.ask(T.stat(6, 0), "Rstat 6 /");
  await p.near.start(8192);
});

test("RemoteFs: fids of far walks that come too late are given back", async () => {
  const late: Tmessage[] = [];
  let holds = true;
  await using p = await play((request) => {
    if (request.type !== "Twalk" || !holds) {
      // As the manual has it: the answer, then that of the Tflush.
      if (request.type === "Tflush") {
        for (const walk of late.splice(0)) {
          p.server.answer(walk, { type: "Rwalk", wqid: [qid(1)] });
        }
      }
      return undefined;
    }
    late.push(request);
    return "nothing";
  });
  p.near.send(T.walk(1, 0, 1, "f"));
  await until(() => late.length > 0);
  await p.near.ask(T.flush(2, 1), "Rflush 2");
  holds = false;
  await p.near.ask(T.stat(1, 0), "Rstat 1 /");
  p.near.close();
  await soon(p.served);
  // Only the client's root is left, because the fid of a late walk is clunked.
  await until(() => p.server.fids.size === 1);
});

test("RemoteFs: a near walk that is flushed at once takes no number of a far fid", async () => {
  await using p = await play(() => undefined);
  for (let i = 0; i < 10; i++) {
    p.near.send(T.walk(1, 0, 1, "f"), T.flush(2, 1));
    await p.near.expect("Rflush 2");
  }
  await p.near.rpc(T.walk(1, 0, 1, "f"));
  const walk = p.server.log.findLast(({ type }) => type === "Twalk");
  assert(walk?.type === "Twalk");
  assert(walk.newfid < 4, `fid ${walk.newfid}`);
});

test("RemoteFs: a created file that cannot be walked to works, and is found later", async () => {
  let refuses = false;
  await using p = await play((request) =>
    request.type === "Twalk" && request.wname.length > 0 && refuses
      ? { type: "Rerror", ename: "permission denied" }
      : undefined
  );
  await p.near.rpc(T.walk(1, 0, 1));
  refuses = true;
  await p.near.rpc(T.create(1, 1, "new", 0o644, ORDWR));
  await p.near.ask(T.write(1, 1, "text"), "Rwrite 1 4");
  await p.near.ask(T.walk(1, 1, 2), "Rwalk 1");
  await p.near.ask(T.stat(1, 1), "Rerror 1 protocol botch"); // The scene's.
  await p.near.ask(T.clunk(1, 1), "Rclunk 1");
  await p.near.ask(T.open(1, 2), "Rerror 1 permission denied");
  refuses = false;
  await p.near.ask(T.open(1, 2), "Ropen 1 1");
});

test("RemoteFs: a listing in another tree that waits is ended on the far server", async () => {
  const listing = directory(() => record("a"));
  await using p = await play((request) =>
    request.type === "Tread" ? "nothing" : listing(request)
  );
  const [near, end] = pair();
  const local = new MemoryFs({}, { mode: 0o777 });
  const served = serve(end, mount({ "/": local, "/far": p.tree }));
  const wire = new WireClient(near);
  await wire.start(8192);
  await wire.rpc(T.walk(1, 0, 1, "far", "d"));
  await wire.rpc(T.open(1, 1, OREAD));
  wire.send(T.read(2, 1, 0, 1000));
  const has = (type: string) => p.server.log.some((r) => r.type === type);
  await until(() => has("Tread"));
  wire.close();
  await soon(served);
  await until(() => has("Tflush"));
});
