// Reads of directories: whole records, each member once, whatever the count
// and whatever comes and goes meanwhile.
import { assert, assertEquals } from "@std/assert";
import {
  decodeDir,
  encodeStat,
  ORDWR,
  OREAD,
  OTRUNC,
  OWRITE,
  type Stat,
} from "../../../codec.ts";
import { MemoryFs, PlainNode } from "../../../fs/mod.ts";
import { test } from "../../harness.ts";
import { settledMemory } from "../../live_memory.ts";
import { refused, ServedTree, type TreeClient } from "../tree_client.ts";

const BAD_OFFSET = "bad offset in directory read";

function numbered(count: number, name = (i: number) => `f${i}`): MemoryFs {
  const names = Array.from({ length: count }, (_, i) => [name(i), ""]);
  return new MemoryFs(Object.fromEntries(names), { mode: 0o777 });
}

/** Reads a directory from an open fid, and does something after each read. */
async function listWhile(
  client: TreeClient,
  fid: number,
  count: number,
  change: (round: number) => void,
): Promise<string[]> {
  const names: string[] = [];
  for (let offset = 0, round = 0;; round++) {
    const data = await client.read(fid, offset, count);
    if (data.length === 0) return names;
    names.push(...decodeDir(data).map(({ name }) => name));
    offset += data.length;
    change(round);
  }
}

test("directory: whole records, as Rstat has them (S74)", async () => {
  const fs = new MemoryFs({ f: "data", "größe 日本": "", d: { x: "" } });
  await using served = new ServedTree(fs);
  const client = await served.client();
  const data = await client.read(await client.open("/"));
  const stats = await Promise.all(
    ["f", "größe 日本", "d"].map((name) => client.stat(name)),
  );
  assertEquals(decodeDir(data), stats);
  const records = stats.map((stat) => encodeStat(stat));
  assertEquals(data, new Uint8Array(records.flatMap((bytes) => [...bytes])));
});

test("directory: an empty one is 0 bytes, at once and again", async () => {
  await using served = new ServedTree(new MemoryFs({ d: {} }));
  const client = await served.client();
  const fid = await client.open("d");
  for (let i = 0; i < 2; i++) assertEquals((await client.read(fid)).length, 0);
});

test("directory: offset 0 starts over, the end goes on, others are refused (S75)", async () => {
  await using served = new ServedTree(numbered(3));
  const client = await served.client();
  const fid = await client.open("/");
  await refused(BAD_OFFSET, client.read(fid, 1));
  const first = await client.read(fid, 0, 70);
  assertEquals(decodeDir(first).length, 1);
  await refused(BAD_OFFSET, client.read(fid, 1));
  await refused(BAD_OFFSET, client.read(fid, first.length * 2));
  const second = await client.read(fid, first.length, 70);
  assertEquals(decodeDir(second)[0].name, "f1");
  await refused(BAD_OFFSET, client.read(fid, first.length));
  assertEquals(decodeDir(await client.read(fid)).length, 3);
  assertEquals(await client.read(fid, 0, 70), first);
  // Two fids do not share a position.
  const other = await client.open("/");
  await refused(BAD_OFFSET, client.read(other, first.length));
});

test("directory: a count that is too small (S76)", async () => {
  await using served = new ServedTree(
    numbered(4, (i) => i === 2 ? "a long name ".repeat(9) : `f${i}`),
  );
  const client = await served.client();
  const fid = await client.open("/");
  const first = await client.read(fid, 0, 130);
  assertEquals(decodeDir(first).length, 2);
  // Behind the start: nothing, and then the same place again with more room.
  assertEquals((await client.read(fid, first.length, 130)).length, 0);
  const rest = await client.read(fid, first.length, 1000);
  assertEquals(decodeDir(rest).length, 2);
  await refused("Invalid argument", client.read(fid, 0, 20));
  assertEquals((await client.read(fid, 0, 0)).length, 0);
  assertEquals((await client.list(fid)).length, 4);
});

test("directory: every count from the largest record on gives each name once (S77)", async () => {
  const fs = numbered(9, (i) => "n".repeat(i * 3 + 1));
  await using served = new ServedTree(fs);
  const client = await served.client();
  const fid = await client.open("/");
  const names = fs.readDir("/").map(({ name }) => name);
  const sizes = fs.readDir("/").map((stat) => encodeStat(stat).length);
  const all = sizes.reduce((sum, size) => sum + size, 0);
  for (let count = Math.max(...sizes); count <= all + 1; count++) {
    assertEquals(await client.list(fid, count), names, `count ${count}`);
  }
});

test("directory: each member that stays comes once while others come and go (S77)", async () => {
  for (const count of [70, 100, 150, 300]) {
    const fs = numbered(24);
    await using served = new ServedTree(fs);
    const client = await served.client();
    const fid = await client.open("/");
    let made = 0;
    const names = await listWhile(client, fid, count, (round) => {
      // Of every four one goes, from the end on; others come.
      const gone = 23 - 4 * round;
      if (gone > 0) fs.remove(`f${gone}`);
      fs.writeFile(`new${made++}`, "");
      if (round === 1) fs.rename("f12", "renamed");
    });
    const stay = Array.from({ length: 24 }, (_, i) => i)
      .filter((i) => i % 4 !== 3 && i !== 12).map((i) => `f${i}`);
    const seen = names.filter((name) => stay.includes(name));
    assertEquals(seen, stay, `count ${count}`);
    assertEquals(new Set(names).size, names.length);
    const moved = names.filter((name) => ["f12", "renamed"].includes(name));
    assertEquals(moved.length, 1);
  }
});

test("directory: members removed before their turn are skipped", async () => {
  const fs = numbered(4);
  await using served = new ServedTree(fs);
  const client = await served.client();
  const fid = await client.open("/");
  const names = await listWhile(client, fid, 130, (round) => {
    if (round === 0) fs.remove("f3");
  });
  assertEquals(names, ["f0", "f1", "f2"]);
});

test("directory: nor is the member listed that did not fit, and was removed then", async () => {
  const fs = numbered(4);
  await using served = new ServedTree(fs);
  const client = await served.client();
  const fid = await client.open("/");
  const names = await listWhile(client, fid, 130, (round) => {
    if (round === 0) fs.remove("f2");
  });
  assertEquals(names, ["f0", "f1", "f3"]);
});

test("directory: records are those of the moment, also of one that did not fit", async () => {
  const fs = numbered(4);
  await using served = new ServedTree(fs);
  const client = await served.client();
  const fid = await client.open("/");
  const first = await client.read(fid, 0, 130);
  for (const name of ["f2", "f3"]) fs.writeFile(name, "data");
  const rest = decodeDir(await client.read(fid, first.length, 130));
  assertEquals(rest.map(({ length }) => length), [4n, 4n]);
});

test("directory: a listing of a removed one ends", async () => {
  const fs = new MemoryFs({ d: { a: "", b: "", c: "" } });
  await using served = new ServedTree(fs);
  const client = await served.client();
  const fid = await client.open("d");
  const names = await listWhile(client, fid, 70, () => {
    if (fs.find("d")) fs.remove("d", { recursive: true });
  });
  assert(names.length <= 2);
  assertEquals((await client.read(fid)).length, 0);
});

test("directory: a member that was removed and made again comes once at most", async () => {
  const fs = numbered(6);
  await using served = new ServedTree(fs);
  const client = await served.client();
  const fid = await client.open("/");
  const names = await listWhile(client, fid, 70, () => {
    fs.remove("f5");
    fs.writeFile("f5", "");
  });
  assertEquals(new Set(names).size, names.length);
  assertEquals(names.slice(0, 5), ["f0", "f1", "f2", "f3", "f4"]);
});

test("directory: a member that is renamed on the way comes once, whenever it is", async () => {
  for (let round = 0; round < 6; round++) {
    const fs = numbered(6);
    await using served = new ServedTree(fs);
    const client = await served.client();
    const fid = await client.open("/");
    const names = await listWhile(client, fid, 70, (now) => {
      if (now === round) fs.rename("f2", "new");
    });
    assertEquals(names.length, 6);
    assertEquals(names.filter((name) => name === "f2" || name === "new"), [
      round < 2 ? "new" : "f2",
    ]);
  }
});

test("directory: members come and go by the hundred, and those that stay come once", async () => {
  const fs = numbered(400);
  await using served = new ServedTree(fs);
  const client = await served.client();
  const fid = await client.open("/");
  let next = 0;
  const names = await listWhile(client, fid, 500, () => {
    for (let i = 0; i < 20; i++, next++) {
      if (next % 4 !== 0 && next < 400) fs.remove(`f${next}`);
      fs.writeFile(`more${next}`, "");
    }
  });
  assertEquals(new Set(names).size, names.length);
  const stay = Array.from({ length: 100 }, (_, i) => `f${4 * i}`);
  assertEquals(names.filter((name) => stay.includes(name)), stay);
  assertEquals(names.filter((name) => name.startsWith("more")), []);
});

test("directory: a fid that lists a large one holds no list of it", async () => {
  const fs = numbered(20_000);
  await using served = new ServedTree(fs);
  const client = await served.client();
  const list = async () => {
    fs.chmod("f7", 0o600); // So that the list is a new one.
    await client.read(await client.open("/"), 0, 100);
  };
  await list();
  const { live } = await settledMemory();
  for (let i = 0; i < 100; i++) await list();
  const grown = (await settledMemory()).live - live;
  assert(grown < 4e6, `${grown} bytes`); // A list each would be 16 million.
});

test("directory: names of one to four bytes a character, with the smallest msize (S16)", async () => {
  const names = ["e", "é".repeat(50), "日".repeat(40), "😀".repeat(30)];
  const fs = new MemoryFs(Object.fromEntries(names.map((name) => [name, ""])));
  await using served = new ServedTree(fs);
  const client = await served.client("glenda", { msize: 256 });
  const fid = await client.open("/", OREAD);
  assertEquals(await client.list(fid, 65536), names);
  for (const name of names) assertEquals((await client.stat(name)).name, name);
});

test("directory: a thousand members in pieces of the msize", async () => {
  const fs = numbered(1000);
  await using served = new ServedTree(fs);
  const client = await served.client("glenda", { msize: 4096 });
  const names = await client.list(await client.open("/"), 65536);
  assertEquals(names, Array.from({ length: 1000 }, (_, i) => `f${i}`));
});

test("directory: lists are of the directory, not of below it", async () => {
  const fs = new MemoryFs({ d: { e: { f: "" }, g: "" } });
  await using served = new ServedTree(fs);
  const client = await served.client();
  assertEquals(await client.list(await client.open("d")), ["e", "g"]);
});

/** Fails unless a listing tells of each member what its stat tells. */
async function assertListed(
  client: TreeClient,
  path: string,
  why: string,
): Promise<void> {
  const fid = await client.open(path);
  const records = decodeDir(await client.read(fid));
  await client.clunk(fid);
  const stats: Stat[] = [];
  for (const { name } of records) {
    stats.push(await client.stat(`${path}/${name}`));
  }
  assertEquals(records, stats, why);
}

test("directory: a listing shows every change since the one before", async () => {
  const fs = new MemoryFs(
    { d: { a: "", b: "", sub: { x: "" } }, e: { far: "" } },
    { mode: 0o777, uid: "rob" },
  );
  fs.chmod("d", 0o777);
  fs.chmod("d/a", 0o666);
  fs.register("d/fn", ({ s }) => s, { dumper: String });
  await using served = new ServedTree(fs);
  const client = await served.client("rob");
  const calls = await client.open("d/fn", ORDWR);
  const names = () => fs.readDir("d").map(({ name }) => name);
  let length = 1;
  const changes: [string, () => unknown][] = [
    ["a write", async () => client.write(await client.open("d/a", 1), "xyz")],
    ["a write by the program", () => fs.writeFile("d/b", "data")],
    ["a cut", () => client.wstat("d/a", { length: 1n })],
    ["a cut by the program", () => fs.truncate("d/b", 2)],
    ["OTRUNC", () => client.open("d/a", OWRITE | OTRUNC)],
    ["mtime", () => client.wstat("d/a", { mtime: 7 })],
    ["atime", () => client.wstat("d/a", { atime: 8 })],
    ["mode", () => client.wstat("d/a", { mode: 0o640 })],
    ["chmod()", () => fs.chmod("d/b", 0o600)],
    ["a rename", () => client.wstat("d/a", { name: "renamed" })],
    ["rename() to elsewhere", () => fs.rename("d/renamed", "e/a")],
    ["rename() from elsewhere", () => fs.rename("e/a", "d/back")],
    ["a create", () => client.create("d", "new")],
    ["a remove", () => client.remove("d/new")],
    ["a create below", () => fs.writeFile("d/sub/y", "")],
    ["arguments", () => client.write(calls, '{"s": "value"}')],
    ["a value", () => client.text(calls)],
    ["a link to elsewhere", () => fs.link("d/back", "e/link")],
    ["a write by its link", () => fs.writeFile("e/link", "linked")],
    ["mode by its link", () => client.wstat("e/link", { mode: 0o604 })],
    ["a link from elsewhere", () => fs.link("e/far", "d/link")],
    ["a write behind the link", () => fs.writeFile("e/far", "far away")],
    ["the link removed", () => fs.remove("d/link")],
    [
      "a defined file",
      () => fs.define("d/def", { length: () => length, content: () => "" }),
    ],
    ["its length", () => length = 2],
    ["removed", () => fs.remove("d/def")],
    ["content of the node", () => {
      const node = fs.find("d/b");
      if (node instanceof PlainNode) node.content = new Uint8Array(9);
    }],
  ];
  for (const [what, change] of changes) {
    await assertListed(client, "d", `before ${what}`);
    await change();
    await assertListed(client, "d", what);
    const fid = await client.open("d");
    assertEquals(await client.list(fid), names(), what);
  }
});

test("directory: two listings at a time, with changes between, are right both", async () => {
  for (const [small, large] of [[70, 150], [140, 8192], [100, 100]]) {
    const fs = numbered(12);
    await using served = new ServedTree(fs);
    const client = await served.client();
    const fids = [await client.open("/"), await client.open("/")];
    const seen: string[][] = [[], []];
    const at = [0, 0];
    for (let round = 0; round < 14; round++) {
      for (const [i, count] of [small, large].entries()) {
        const data = await client.read(fids[i], at[i], count);
        at[i] += data.length;
        seen[i].push(...decodeDir(data).map(({ name }) => name));
        if (round === 2) fs.writeFile("f9", "x".repeat(i));
        if (round === 3) fs.rename(`f${10 + i}`, `r${i}`);
      }
    }
    for (const names of seen) {
      assertEquals(
        names.slice(0, 10),
        fs.readDir("/").slice(0, 10).map(nameOf),
      );
      assertEquals(new Set(names).size, 12);
    }
  }
});

function nameOf({ name }: Stat): string {
  return name;
}
