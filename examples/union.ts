/**
 * Puts a tree over another tree: a client changes and removes files, but the
 * lower tree never changes. The changes are in the upper tree.
 *
 *     deno run examples/union.ts
 *     bun examples/union.ts
 *
 * @module
 */

import { connect, forUser, MemoryFs, pair, serve, union } from "../mod.ts";

const base = new MemoryFs({
  motd: "hello\n",
  etc: { hosts: "127.0.0.1 localhost\n", group: "sys\n" },
});
const scratch = new MemoryFs();
const tree = union(scratch, base);

const [here, there] = pair();
// All clients act as "sys", the owner of the files.
const served = serve(there, forUser(tree, "sys"));
const client = await connect(here);

async function show(title: string) {
  console.log(title);
  for await (const { path, stat } of client.walkTree("/")) {
    console.log(`  ${path} ${stat.length}`);
  }
}

await show("before:");
await client.writeTextFile("etc/hosts", "::1 localhost\n", { append: true });
await client.writeTextFile("note", "new\n");
await client.remove("etc/group");
await client.remove("motd");
await show("after:");

const names = (fs: MemoryFs, dir: string) =>
  fs.readDir(dir).map(({ name }) => name).sort().join(" ");
console.log(`the tree below still has: ${names(base, "/")}`);
console.log(`the scratch tree has: ${names(scratch, "/")}`);
console.log(`and in etc: ${names(scratch, "etc")}`);

await client.close();
await served;
