// P-05, P-20: two processes over the pipes between them. The child is
// examples/spawn.ts, which serves a tree on its standard input and output.
import { assertEquals, assertRejects } from "@std/assert";
import { connect, fromStreams, NinePError, ProtocolError } from "../../mod.ts";
import { type PipedChild, startPiped } from "../child.ts";
import { test } from "../harness.ts";

/** A child that serves, and a client of it. */
async function startChild() {
  const child: PipedChild = startPiped("examples/spawn.ts", "child");
  const client = await connect(fromStreams(child, "child"));
  return { child, client };
}

test("P-05: a parent works with the tree that its child serves on stdio", async () => {
  const { child, client } = await startChild();
  assertEquals(await client.readTextFile("motd"), "hello from the child\n");
  await client.writeTextFile("note", "from the parent\n");
  assertEquals(await client.readTextFile("note"), "from the parent\n");
  assertEquals(await client.call("add", { argv: [17, 25] }), 42);
  await assertRejects(() => client.readFile("none"), NinePError);
  await client.close();
  assertEquals(await child.ended, 0);
});

test("P-05: more than a pipe takes goes both ways at once", async () => {
  const { child, client } = await startChild();
  const data = Uint8Array.from({ length: 4 << 20 }, (_, i) => i % 251);
  await client.writeFile("one", data);
  const [read] = await Promise.all([
    client.readFile("one"),
    client.writeFile("two", data),
  ]);
  assertEquals(read, data);
  assertEquals(await client.readFile("two"), data);
  await client.close();
  assertEquals(await child.ended, 0);
});

test("P-05: a child ends when its parent hangs up without a word", async () => {
  const child = startPiped("examples/spawn.ts", "child");
  await child.writable.close();
  await child.readable.cancel();
  assertEquals(await child.ended, 0);
});

test("P-05: the end of the child is the end of the connection", async () => {
  const { child, client } = await startChild();
  await client.stat("motd");
  child.kill();
  await child.ended;
  await assertRejects(() => client.stat("motd"), ProtocolError);
  await client.close();
});
