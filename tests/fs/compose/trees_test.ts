// Compositions of all kinds of trees: memory, a host directory, another server.
import { assert, assertEquals, assertRejects } from "@std/assert";
import { mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import {
  connect,
  HostFs,
  MemoryFs,
  mount,
  pair,
  readonly,
  RemoteFs,
  serve,
  union,
} from "../../../mod.ts";
import { namesOf, Scene } from "./scene.ts";
import { withFolder } from "../../folder.ts";
import { test } from "../../harness.ts";
import { PlainTree } from "../plain_tree.ts";
import { refused } from "../tree_client.ts";

test("mount() of memory, a host directory and another server", async () => {
  await withFolder(async (folder) => {
    await mkdir(`${folder}/sub`);
    await writeFile(`${folder}/sub/file`, "host");
    const remote = new PlainTree({ "d/x": "far", point: "far" });
    const [near, far] = pair();
    const served = serve(far, mount({ "/": remote, "/e": new PlainTree() }));
    const client = await connect(near, { uname: "glenda" });
    {
      const tree = mount({
        "/": new MemoryFs({ motd: "hello" }, { mode: 0o777 }),
        "/host": new HostFs(folder, { readonly: false }),
        "/far": new RemoteFs(client),
        "/far/point": readonly(new HostFs(folder)),
      });
      await using scene = new Scene(tree);
      const user = await scene.client();
      assertEquals(await namesOf(user, "/"), ["far", "host", "motd"]);
      assertEquals(await namesOf(user, "far"), ["d", "e", "point"]);
      assertEquals(await user.readTextFile("host/sub/file"), "host");
      assertEquals(await user.readTextFile("far/d/x"), "far");
      assertEquals(await user.readTextFile("far/point/sub/file"), "host");
      assertEquals(
        await user.readTextFile("far/d/../../host/sub/../sub/file"),
        "host",
      );
      await user.copy("host/sub/file", "far/d/copy");
      assertEquals(remote.text("d/copy"), "host");
      await user.writeTextFile("host/new", "new");
      assertEquals(await readFile(`${folder}/new`, "utf8"), "new");
      const raw = await scene.raw();
      await refused("read only file system", raw.remove("far/point/new"));
      const paths = new Set<bigint>();
      let count = 0;
      for await (const { stat } of user.walkTree("/")) {
        paths.add(stat.qid.path);
        count++;
      }
      assertEquals(paths.size, count);
    }
    await client.close();
    await served;
    assertEquals([remote.held, remote.opens], [0, 0]);
  });
});

test("union() over host directories keeps its changes in the upper one", async () => {
  await withFolder(async (folder) => {
    const [up, low] = [`${folder}/up`, `${folder}/low`];
    await mkdir(`${low}/d`, { recursive: true });
    await mkdir(up);
    const large = new Uint8Array(300_000).map((_, i) => i % 251);
    await writeFile(`${low}/large`, large, { mode: 0o640 });
    await writeFile(`${low}/d/x`, "x");
    await writeFile(`${low}/d/y`, "y");
    const make = () =>
      union(new HostFs(up, { readonly: false }), new HostFs(low));
    {
      await using scene = new Scene(make());
      const client = await scene.client();
      const before = await client.stat("large");
      await client.writeTextFile("large", "!", { append: true });
      const after = await client.stat("large");
      assertEquals(after.qid.path, before.qid.path);
      assertEquals([after.length, after.mode], [300_001, before.mode]);
      await client.remove("d/x");
      await client.rename("d/y", "d/z");
      await client.mkdir("e");
    }
    // A server that starts anew shows the same.
    await using scene = new Scene(make());
    const client = await scene.client();
    assertEquals(await namesOf(client, "/"), ["d", "e", "large"]);
    assertEquals(await namesOf(client, "d"), ["z"]);
    const copy = await client.readFile("large");
    assert(large.every((byte, i) => copy[i] === byte));
    assertEquals(await namesOf(client, "e"), []);
    assertEquals((await readdir(low)).sort(), ["d", "large"]);
    assertEquals((await readdir(`${low}/d`)).sort(), ["x", "y"]);
    const kept = await readFile(`${low}/large`);
    assert(kept.length === large.length);
    assertEquals((await readdir(`${up}/d`)).sort(), [".wh.x", ".wh.y", "z"]);
  });
});

test("union() of memory over another server", async () => {
  const remote = new PlainTree({ "d/x": "far", "d/y": "far" });
  const [near, far] = pair();
  const served = serve(far, readonly(remote));
  const client = await connect(near, { uname: "glenda" });
  {
    const upper = new MemoryFs({}, { mode: 0o777 });
    await using scene = new Scene(union(upper, new RemoteFs(client)));
    const [one, two] = [await scene.client(), await scene.client()];
    assertEquals(await one.readTextFile("d/x"), "far");
    await Promise.all([
      one.writeTextFile("d/x", "1", { append: true }),
      two.writeTextFile("d/x", "2", { append: true }),
    ]);
    const text = await one.readTextFile("d/x");
    assert(text.startsWith("far") && text.length >= 4, text);
    await two.remove("d/y");
    assertEquals(await namesOf(one, "d"), ["x"]);
    assertEquals(remote.text("d/x"), "far");
  }
  assertEquals([remote.held, remote.opens], [1, 0]); // The client's root.
  await client.close();
  await served;
  assertEquals([remote.held, remote.opens], [0, 0]);
});

test("union() leaves no copy on another server when the client gives up", async () => {
  const far = new MemoryFs({}, { uid: "glenda" });
  const [here, there] = pair();
  const served = serve(there, far);
  const farClient = await connect(here, { uname: "glenda" });
  const lower = new PlainTree({ file: "x".repeat(200_000) });
  const file = lower.find("file");
  assert(file !== undefined);
  // The second read of the copy waits until the client has given up.
  const [begun, ended] = [
    Promise.withResolvers<void>(),
    Promise.withResolvers<void>(),
  ];
  const open = file.open.bind(file);
  file.open = (request) => ({
    ...open(request),
    read: async ({ offset, count }) => {
      if (offset > 0) {
        begun.resolve();
        await ended.promise;
      }
      return file.data.subarray(offset, offset + count);
    },
  });
  {
    await using scene = new Scene(union(new RemoteFs(farClient), lower));
    const client = await scene.client();
    const stop = new AbortController();
    const options = { append: true, signal: stop.signal };
    const written = client.writeTextFile("file", "!", options);
    await begun.promise;
    stop.abort(new Error("given up"));
    await assertRejects(() => written, Error, "given up");
    await client.stat("/"); // The server has seen the Tflush.
    ended.resolve();
  }
  assertEquals(far.readDir("/"), []);
  await farClient.close();
  await served;
  assertEquals([lower.held, lower.opens], [0, 0]);
});

test("union() over another server lets no write through that comes without an open", async () => {
  const remote = new PlainTree({ "d/x": "far" });
  const [near, far] = pair();
  const served = serve(far, mount({ "/": remote }));
  const client = await connect(near, { uname: "glenda" });
  {
    const lower = mount({ "/": new MemoryFs(), "/far": new RemoteFs(client) });
    const upper = new MemoryFs({}, { mode: 0o777 });
    await using scene = new Scene(union(upper, lower));
    const raw = await scene.raw();
    const fid = await raw.walk("far/d/x");
    await refused("bad use of fid", raw.write(fid, "gone"));
    await raw.wstat(fid, { length: 1n });
    assertEquals((await raw.stat(fid)).length, 1n);
    assertEquals(remote.text("d/x"), "far");
  }
  await client.close();
  await served;
});
