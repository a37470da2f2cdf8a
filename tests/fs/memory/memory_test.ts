// The API of a MemoryFs for its program: files that it makes and changes, and
// the errors.
import {
  assert,
  assertEquals,
  assertGreater,
  assertInstanceOf,
  assertNotEquals,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import {
  DMAPPEND,
  DMDIR,
  DMEXCL,
  NinePError,
  QTAPPEND,
  QTDIR,
} from "../../../codec.ts";
import {
  type Content,
  DirNode,
  type FileHooks,
  FunctionNode,
  MemoryFs,
  type MemoryFsOptions,
  PlainNode,
} from "../../../fs/mod.ts";
import { test } from "../../harness.ts";
import { bytes, ServedTree, textOf } from "../tree_client.ts";

/** Fails unless something is refused with that text and code, in a message that names the path. */
function assertRefused(
  fn: () => unknown,
  ename: string,
  code: string,
  path: string,
): void {
  const error = assertThrows(fn, NinePError);
  assertEquals({ ename: error.ename, code: error.code }, { ename, code });
  assertStringIncludes(error.message, `"${path}"`);
  assertStringIncludes(error.message, ename);
}

function names(fs: MemoryFs, path: string): string[] {
  return fs.readDir(path).map(({ name }) => name);
}

test("MemoryFs: texts and bytes are files, objects are directories", () => {
  const fs = new MemoryFs({
    motd: "hello\n",
    raw: new Uint8Array([0, 255]),
    etc: { hosts: "größe", empty: {}, none: "" },
  });
  assertEquals(fs.readTextFile("motd"), "hello\n");
  assertEquals(fs.readFile("raw"), new Uint8Array([0, 255]));
  assertEquals(fs.readTextFile("/etc/hosts"), "größe");
  assertEquals(fs.stat("etc/hosts").length, 7n);
  assertEquals(names(fs, "/"), ["motd", "raw", "etc"]);
  assertEquals(names(fs, "etc/empty"), []);
  assertEquals(fs.stat("motd").mode, 0o644);
  assertEquals(fs.stat("etc").mode, DMDIR + 0o755);
});

test("MemoryFs: bytes of the program are copied both ways", () => {
  const data = new Uint8Array([1, 2, 3]);
  const fs = new MemoryFs({ f: data });
  data[0] = 9;
  fs.readFile("f")[1] = 9;
  assertEquals(fs.readFile("f"), new Uint8Array([1, 2, 3]));
});

test("MemoryFs: content with an illegal name is refused by its name", () => {
  for (const name of ["", ".", "..", "etc/hosts"]) {
    assertRefused(
      () => new MemoryFs({ [name]: "x" }),
      "illegal name",
      "EINVAL",
      name,
    );
    assertThrows(() => new MemoryFs({ [name]: {} }), NinePError);
  }
});

test("MemoryFs: content that is neither text, bytes nor object is refused", () => {
  for (const value of [null, 1, true, [], () => 1, new ArrayBuffer(3)]) {
    // As from JavaScript, or from a JSON file.
    const content = { f: value } as unknown as Content;
    assertThrows(() => new MemoryFs(content), TypeError, '"f"');
  }
});

// P-40.
test("MemoryFs: the root is /, 0755, and its own parent", () => {
  const { root } = new MemoryFs();
  assertEquals(root.stat().name, "/");
  assertEquals(root.stat().mode, DMDIR + 0o755);
  assertEquals(root.qid.type, QTDIR);
  assertEquals(root.parent, root);
});

// P-41.
test("MemoryFs: owner and group are settable, the group is the owner by default", () => {
  const owners = (options: MemoryFsOptions) => {
    const fs = new MemoryFs({ f: "" }, options);
    const { uid, gid, muid } = fs.stat("f");
    const root = fs.stat("/");
    assertEquals([root.uid, root.gid], [uid, gid]);
    return [uid, gid, muid];
  };
  // It is not the user of clients that name no user.
  assertEquals(owners({}), ["sys", "sys", "sys"]);
  assertEquals(owners({ uid: "ken" }), ["ken", "ken", "ken"]);
  assertEquals(owners({ uid: "ken", gid: "sys" }), ["ken", "sys", "ken"]);
});

test("MemoryFs: the mode of the root is settable", () => {
  assertEquals(
    new MemoryFs({}, { mode: 0o777 }).root.mode,
    DMDIR + 0o777,
  );
});

// P-06, P-40, C-92.
test("create() makes a file of 0640 and gives its node", () => {
  const before = Math.floor(Date.now() / 1000);
  const fs = new MemoryFs({ d: {} });
  const file = fs.create("d/f", { data: "abc" });
  assertInstanceOf(file, PlainNode);
  assertEquals(fs.find("d/f"), file);
  const stat = fs.stat("d/f");
  assertEquals(stat.mode, 0o640);
  assertEquals(stat.length, 3n);
  assertEquals([stat.type, stat.dev], [0, 0]);
  assert(stat.mtime >= before && stat.atime >= before);
  assertEquals(fs.create("/d//./g").length, 0);
});

test("create() and mkdir() take modes and owners", () => {
  const fs = new MemoryFs();
  fs.create("log", { mode: 0o600 + DMAPPEND, uid: "ken", gid: "sys" });
  const { mode, uid, gid, qid } = fs.stat("log");
  assertEquals([mode, uid, gid], [0o600 + DMAPPEND, "ken", "sys"]);
  assertEquals(qid.type, QTAPPEND);
  fs.mkdir("d", { mode: 0o700, uid: "rob" });
  assertEquals(fs.stat("d").mode, DMDIR + 0o700);
  assertEquals([fs.stat("d").uid, fs.stat("d").gid], ["rob", "sys"]);
});

test("create() refuses missing parents, files as parents, and names that are taken", () => {
  const fs = new MemoryFs({ f: "old", d: {} });
  const create = (path: string) => () => fs.create(path, { data: "new" });
  assertRefused(create("no/f"), "file does not exist", "ENOENT", "no");
  assertRefused(create("f/g"), "not a directory", "ENOTDIR", "f/g");
  assertRefused(create("f"), "file already exists", "EEXIST", "f");
  assertRefused(create("d"), "file already exists", "EEXIST", "d");
  assertRefused(create("/"), "illegal name", "EINVAL", "/");
  assertRefused(create("d/.."), "illegal name", "EINVAL", "d/..");
  assertEquals(fs.readTextFile("f"), "old");
  assertEquals(names(fs, "/"), ["f", "d"]);
});

test("create() refuses names that no message could carry", async () => {
  const fs = new MemoryFs({}, { mode: 0o777 });
  const nul = "a\0b", long = "ö".repeat(128), half = "a\ud800";
  assertRefused(() => fs.create(nul), "illegal name", "EINVAL", nul);
  assertRefused(() => fs.create(half), "illegal name", "EINVAL", half);
  assertRefused(
    () => fs.create(long),
    "File name too long",
    "ENAMETOOLONG",
    long,
  );
  fs.create("ok");
  assertThrows(() => fs.rename("ok", nul), NinePError, "illegal name");
  assertThrows(() => fs.mkdir(nul), NinePError, "illegal name");
  assertThrows(() => fs.register(nul, () => 1), NinePError, "illegal name");
  fs.create("ö".repeat(127) + "o");
  await using served = new ServedTree(fs);
  const client = await served.client();
  assertEquals((await client.list(await client.open("/"))).length, 2);
  assertEquals(served.reports, []);
});

test("create() with too much data makes nothing", () => {
  const fs = new MemoryFs({}, { maxFileSize: 10, maxSize: 15 });
  assertRefused(
    () => fs.create("f", { data: "x".repeat(11) }),
    "file too big",
    "EFBIG",
    "f",
  );
  assertThrows(() => fs.writeFile("g", "x".repeat(11)), NinePError, "too big");
  assertEquals(names(fs, "/"), []);
  fs.create("f", { data: "x".repeat(10) });
  assertRefused(
    () => fs.create("g", { data: "123456" }),
    "file system is full",
    "ENOSPC",
    "g",
  );
  assertEquals(names(fs, "/"), ["f"]);
});

test("mkdir() makes a directory of 0750, whose parent must exist", () => {
  const fs = new MemoryFs({ f: "" });
  assertInstanceOf(fs.mkdir("d"), DirNode);
  assertEquals(fs.stat("d").mode, DMDIR + 0o750);
  assertRefused(() => fs.mkdir("d"), "file already exists", "EEXIST", "d");
  assertRefused(() => fs.mkdir("f/x"), "not a directory", "ENOTDIR", "f/x");
  assertRefused(() => fs.mkdir("a/b"), "file does not exist", "ENOENT", "a");
});

test("mkdir() recursive makes parents and takes what is there", () => {
  const fs = new MemoryFs({ f: "" });
  const dir = fs.mkdir("a/b/c", { recursive: true, mode: 0o700 });
  assertEquals(fs.mkdir("a/b/c", { recursive: true }), dir);
  assertEquals(fs.stat("a/b").mode, DMDIR + 0o700);
  assertEquals(fs.mkdir("/", { recursive: true }), fs.root);
  assertRefused(
    () => fs.mkdir("f/g", { recursive: true }),
    "not a directory",
    "ENOTDIR",
    "f/g",
  );
});

// P-39.
test("find() gives nodes, with .. and without", () => {
  const fs = new MemoryFs({ d: { f: "" } });
  assertEquals(fs.find("d/f")?.name, "f");
  assertEquals(fs.find("d/../d/./f"), fs.find("d/f"));
  assertEquals(fs.find("../.."), fs.root);
  assertEquals(fs.find(""), fs.root);
  assertEquals(fs.find("no"), undefined);
  assertEquals(fs.find("d/f/g"), undefined);
  assertEquals(fs.find("constructor"), undefined);
});

test("writeFile() replaces or makes, readFile() and readTextFile() read", () => {
  const fs = new MemoryFs();
  fs.writeFile("f", "long content");
  fs.writeFile("f", "new", { mode: 0o600 });
  assertEquals(fs.readTextFile("f"), "new");
  assertEquals(fs.stat("f").mode, 0o640);
  fs.writeFile("g", new Uint8Array([0xff]), { mode: 0o600 });
  assertEquals(fs.stat("g").mode, 0o600);
  assertEquals(fs.readTextFile("g"), "\ufffd");
  fs.writeFile("f", "");
  assertEquals(fs.readFile("f").length, 0);
});

test("readFile(), writeFile(), readDir(), stat() name what they cannot do", () => {
  const fs = new MemoryFs({ d: {}, f: "" });
  const missing = ["file does not exist", "ENOENT", "no"] as const;
  assertRefused(() => fs.readFile("no"), ...missing);
  assertRefused(() => fs.readTextFile("no"), ...missing);
  assertRefused(() => fs.readDir("no"), ...missing);
  assertRefused(() => fs.stat("no"), ...missing);
  assertRefused(() => fs.chmod("no", 0), ...missing);
  assertRefused(() => fs.truncate("no"), ...missing);
  assertRefused(() => fs.readFile("d"), "Is a directory", "EISDIR", "d");
  assertRefused(() => fs.writeFile("d", ""), "Is a directory", "EISDIR", "d");
  assertRefused(() => fs.truncate("d"), "Is a directory", "EISDIR", "d");
  assertRefused(() => fs.readDir("f"), "not a directory", "ENOTDIR", "f");
});

test("truncate() cuts, and extends with zeros", () => {
  const fs = new MemoryFs({ f: "abcdef" });
  fs.truncate("f", 3);
  fs.truncate("f", 5);
  assertEquals(textOf(fs.readFile("f")), "abc\0\0");
  fs.truncate("f");
  assertEquals(fs.stat("f").length, 0n);
  const small = new MemoryFs({ f: "1" }, { maxFileSize: 3 });
  assertRefused(() => small.truncate("f", 4), "file too big", "EFBIG", "f");
  assertEquals(small.readTextFile("f"), "1");
});

test("truncate() refuses a length that is none", () => {
  const fs = new MemoryFs({ f: "abc" });
  for (const length of [-1, 1.5, NaN, Infinity]) {
    assertThrows(() => fs.truncate("f", length), RangeError);
  }
  assertEquals(fs.readTextFile("f"), "abc");
});

test("chmod() changes permissions and bits, but makes no directory", () => {
  const fs = new MemoryFs({ f: "", d: {} });
  fs.chmod("f", 0o600 + DMDIR + DMEXCL);
  assertEquals(fs.stat("f").mode, 0o600 + DMEXCL);
  assertEquals(fs.stat("f").qid.type, DMEXCL >>> 24);
  fs.chmod("d", 0o700);
  assertEquals(fs.stat("d").mode, DMDIR + 0o700);
});

// C-92.
test("remove() removes files, empty directories, and with recursive all", () => {
  const fs = new MemoryFs({ f: "", d: { e: { g: "" } }, x: {} });
  fs.remove("f");
  fs.remove("x");
  assertRefused(() => fs.remove("f"), "file does not exist", "ENOENT", "f");
  assertRefused(
    () => fs.remove("d"),
    "directory is not empty",
    "ENOTEMPTY",
    "d",
  );
  fs.remove("d", { recursive: true });
  assertEquals(names(fs, "/"), []);
  assertRefused(
    () => fs.remove("/", { recursive: true }),
    "cannot remove root",
    "EPERM",
    "/",
  );
});

test("rename() gives another name or directory, and keeps the qid's path", () => {
  const fs = new MemoryFs({ f: "data", d: { e: {} }, g: "" });
  const { path } = fs.stat("f").qid;
  fs.rename("f", "d/e/f2");
  assertEquals(fs.readTextFile("d/e/f2"), "data");
  assertEquals(fs.stat("d/e/f2").qid.path, path);
  assertEquals(fs.stat("d/e/f2").name, "f2");
  assertEquals(fs.find("f"), undefined);
  fs.rename("g", "g");
  assertEquals(names(fs, "/"), ["d", "g"]);
});

test("rename() replaces nothing, and moves nothing into itself", () => {
  const fs = new MemoryFs({ f: "1", g: "2", d: { e: {} } });
  const rename = (from: string, to: string) => () => fs.rename(from, to);
  assertRefused(rename("f", "g"), "file already exists", "EEXIST", "g");
  assertRefused(rename("no", "x"), "file does not exist", "ENOENT", "no");
  assertRefused(rename("f", "no/x"), "file does not exist", "ENOENT", "no");
  assertRefused(rename("f", "g/x"), "not a directory", "ENOTDIR", "g/x");
  assertRefused(rename("d", "d/e/x"), "Invalid argument", "EINVAL", "d");
  assertRefused(rename("d", "d/x"), "Invalid argument", "EINVAL", "d");
  assertRefused(rename("/", "x"), "cannot remove root", "EPERM", "/");
  assertRefused(rename("f", "d/.."), "illegal name", "EINVAL", "d/..");
  assertEquals(fs.readTextFile("f") + fs.readTextFile("g"), "12");
});

// P-40.
test("MemoryFs: no qid path is given twice", () => {
  const fs = new MemoryFs({ a: "", d: { b: "" } });
  const seen = new Set<bigint>([fs.root.qid.path]);
  const fresh = (path: string) => {
    const number = fs.stat(path).qid.path;
    assert(!seen.has(number), `${path} has a qid that another had`);
    seen.add(number);
  };
  for (const path of ["a", "d", "d/b"]) fresh(path);
  for (let i = 0; i < 3; i++) {
    fs.remove("a");
    fs.writeFile("a", "");
    fresh("a");
    fs.register("f", () => 1);
    fresh("f");
    fs.remove("f");
  }
});

test("MemoryFs: changes by the program move versions, also of the directory", () => {
  const fs = new MemoryFs({ f: "", d: {} });
  const vers = (path: string) => fs.stat(path).qid.vers;
  const moves = (path: string, change: () => void) => {
    const before = vers(path);
    change();
    assertGreater(vers(path), before);
  };
  moves("f", () => fs.writeFile("f", "x"));
  moves("f", () => fs.truncate("f"));
  moves("/", () => fs.writeFile("g", ""));
  moves("/", () => fs.remove("g"));
  const before = vers("f");
  moves("/", () => fs.rename("f", "h"));
  moves("/", () => fs.rename("h", "d/h"));
  moves("d", () => fs.rename("d/h", "h"));
  moves("/", () => fs.mkdir("e"));
  moves("/", () => fs.register("fn", () => 1));
  assertEquals(vers("h"), before);
});

test("MemoryFs: what the program changes, clients see at once", async () => {
  const fs = new MemoryFs({ f: "old" });
  await using served = new ServedTree(fs);
  const client = await served.client();
  const fid = await client.open("f");
  assertEquals((await client.stat(fid)).length, 3n);
  fs.writeFile("f", "newer");
  assertEquals((await client.stat(fid)).length, 5n);
  assertEquals(await client.text(fid), "newer");
  fs.chmod("f", 0o600);
  assertEquals((await client.stat(fid)).mode, 0o600);
  fs.rename("f", "g");
  assertEquals((await client.stat(fid)).name, "g");
  fs.remove("g");
  assertEquals(await client.text(fid), "newer");
});

test("PlainNode: a change through the node is seen by clients, too", async () => {
  const fs = new MemoryFs({ f: "old" });
  const file = fs.find("f");
  assertInstanceOf(file, PlainNode);
  await using served = new ServedTree(fs);
  const client = await served.client();
  assertEquals((await client.stat("f")).length, 3n);
  file.content = bytes("longer");
  assertEquals((await client.stat("f")).length, 6n);
  file.truncate(1);
  assertEquals((await client.stat("f")).length, 1n);
});

test("MemoryFs: removed and shortened files give their room back", () => {
  const fs = new MemoryFs({}, { maxSize: 10 });
  for (let i = 0; i < 3; i++) {
    fs.writeFile("f", "1234567890");
    assertThrows(() => fs.writeFile("g", "x"), NinePError, "full");
    fs.truncate("f", 4);
    fs.writeFile("g", "123456");
    fs.remove("f");
    fs.remove("g");
  }
  fs.mkdir("d");
  fs.writeFile("d/f", "1234567890");
  fs.remove("d", { recursive: true });
  fs.writeFile("f", "1234567890");
});

test("writeFile() that does not fit leaves the old content", () => {
  const fs = new MemoryFs({ f: "old" }, { maxSize: 5 });
  assertRefused(
    () => fs.writeFile("f", "123456"),
    "file system is full",
    "ENOSPC",
    "f",
  );
  assertEquals(fs.readTextFile("f"), "old");
  fs.writeFile("f", "12345");
});

test("register() makes a function file of 0666 where there was nothing", () => {
  const fs = new MemoryFs({ d: {}, f: "" });
  const node = fs.register("d/add", () => 1);
  assertInstanceOf(node, FunctionNode);
  assertEquals(fs.find("d/add"), node);
  assertEquals(fs.stat("d/add").mode, 0o666);
  assertEquals(fs.stat("d/add").length, 0n);
  assertRefused(
    () => fs.register("f", () => 1),
    "file already exists",
    "EEXIST",
    "f",
  );
  assertRefused(
    () => fs.register("no/f", () => 1),
    "file does not exist",
    "ENOENT",
    "no",
  );
  fs.register("own", () => 1, { mode: 0o600, uid: "ken", gid: "sys" });
  const { mode, uid, gid } = fs.stat("own");
  assertEquals([mode, uid, gid], [0o600, "ken", "sys"]);
  fs.remove("d/add");
  fs.register("d/add", () => 2);
  const noFile = ["Operation not supported", "EOPNOTSUPP", "own"] as const;
  assertRefused(() => fs.readFile("own"), ...noFile);
  assertRefused(() => fs.writeFile("own", "{}"), ...noFile);
  assertRefused(() => fs.truncate("own"), ...noFile);
});

test("MemoryFs: two trees have nothing in common", () => {
  const a = new MemoryFs({ f: "a" });
  const b = new MemoryFs({ f: "b" });
  a.writeFile("f", "x");
  assertEquals(b.readTextFile("f"), "b");
  assertNotEquals(a.root, b.root);
});

// A restarted server has other files.
test("MemoryFs: no two trees have qids in common, the root's included", () => {
  const seen = new Set<bigint>();
  const content = { a: "", b: { c: "" } };
  for (let trees = 1; trees <= 100; trees++) {
    const fs = new MemoryFs(content);
    for (const path of ["/", "a", "b", "b/c"]) {
      const { path: number } = fs.stat(path).qid;
      // Below 2^53: programs of Node take an inode for a double.
      assert(number >= 0n && number < 2n ** 53n, `${number}`);
      seen.add(number);
    }
    assertEquals(seen.size, trees * 4);
  }
  const fs = new MemoryFs();
  const before = fs.create("f").qid.path;
  fs.remove("f");
  assertNotEquals(fs.create("f").qid.path, before);
});

test("MemoryFs: trees deeper than the stack are made and removed", () => {
  const DEEP = 60_000;
  const make = (): Content => {
    let content: Content = { leaf: "x" };
    for (let depth = 0; depth < DEEP; depth++) content = { d: content, f: "" };
    return content;
  };
  const fs = new MemoryFs(make());
  const { d } = Object.fromEntries(fs.root.members);
  fs.remove("d", { recursive: true });
  assertEquals([...fs.root.members.keys()], ["f"]);
  assert(d.isRemoved);
  // All room is free again.
  const small = new MemoryFs({ keep: "" }, { maxFiles: DEEP + 2 });
  for (let times = 0; times < 2; times++) {
    {
      using _top = small.mkdir("top");
      small.mkdir("top/" + "d/".repeat(DEEP), { recursive: true });
    }
    assertEquals([...small.root.members.keys()], ["keep"]);
  }
});

test("MemoryFs: refuses content that contains itself, but not the same content twice", () => {
  interface Loop {
    [name: string]: string | Loop;
  }
  const loop: Loop = { f: "x" };
  loop.d = { e: loop };
  assertThrows(
    () => new MemoryFs({ top: loop }),
    TypeError,
    'Cannot create "top/d/e": the content contains itself',
  );
  const part = { f: "x" };
  const fs = new MemoryFs({ a: part, b: { c: part } });
  assertEquals(fs.readTextFile("a/f") + fs.readTextFile("b/c/f"), "xx");
});

test("register(): refuses what is not a function, and makes no file", () => {
  const fs = new MemoryFs();
  for (
    const wrong of [5, "text", null, undefined, [() => 1], new Uint8Array()]
  ) {
    // A program without types may pass this.
    const register = () => fs.register("f", wrong as unknown as () => void);
    assertThrows(register, TypeError, 'Cannot register "f": ');
    assertEquals(fs.find("f"), undefined);
  }
});

// As from a program without types.
function untyped<T>(value: unknown): T {
  return value as T;
}

test("register(): refuses options of a wrong type, and makes no file", () => {
  const fs = new MemoryFs();
  const wrong = [
    { loader: 5 },
    { loader: null },
    { dumper: "text" },
    { params: "ab" },
    { params: [1, 2] },
    { params: ["a", "a"] },
    { params: { add: "a" } },
    { params: { add: ["a"], sub: ["a", "a"] } },
  ];
  for (const options of wrong) {
    const register = () => fs.register("f", (a) => a, untyped(options));
    assertThrows(register, TypeError, 'Cannot register "f": ');
    assertEquals(fs.find("f"), undefined);
  }
  fs.register("f", (a) => a, { params: [] });
  fs.register("g", { add: (a) => a }, { params: { add: ["a"], sub: [] } });
});

test("define(): refuses what is not a function, and makes no file", () => {
  const fs = new MemoryFs();
  const wrong = [
    5,
    "text",
    null,
    undefined,
    [],
    () => "text",
    { content: "text" },
    { read: 5 },
    { written: {} },
    { call: null },
    { read: () => new Uint8Array(0), clunk: true },
  ];
  for (const hooks of wrong) {
    const define = () => fs.define("f", untyped<FileHooks>(hooks));
    assertThrows(define, TypeError, 'Cannot define "f": ');
    assertEquals(fs.find("f"), undefined);
  }
  fs.define("f", {});
  fs.define("g", untyped<FileHooks>({ read: undefined, length: 5 }));
});

test("MemoryFs: a time does not go on where a node is only looked at", () => {
  const fs = new MemoryFs({ f: "x" });
  const before = fs.stat("f");
  fs.readFile("f");
  fs.readDir("/");
  assertEquals(fs.stat("f"), before);
});

test("MemoryFs: refuses modes and users that no record holds", () => {
  const fs = new MemoryFs({ a: "" });
  for (const mode of [-1, 2 ** 32, 1.5, NaN]) {
    assertThrows(() => fs.create("f", { mode }), RangeError, `mode is ${mode}`);
    assertThrows(() => fs.mkdir("f", { mode }), RangeError);
    assertThrows(() => fs.register("f", () => {}, { mode }), RangeError);
    assertThrows(() => fs.chmod("a", mode), RangeError);
  }
  const uid = 5 as unknown as string;
  assertThrows(() => fs.create("f", { uid }), TypeError, "a user is number");
  assertEquals(fs.find("f"), undefined);
});

test("mkdir() with recursive: `..` is the parent, at the root as well", () => {
  const fs = new MemoryFs();
  fs.mkdir("../a/b/../c/./d", { recursive: true });
  assertEquals(fs.readDir("a").map(({ name }) => name), ["b", "c"]);
  assertEquals(fs.readDir("a/c").map(({ name }) => name), ["d"]);
});
