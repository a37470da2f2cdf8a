// Bounds on what a client accepts from a server: endless files, values and
// directories, and directories that contain themselves.
import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { test } from "../harness.ts";
import { type Client, connect } from "../../client.ts";
import {
  type DirectoryLevel,
  LoopDetector,
} from "../../client/trees/loop_detector.ts";
import { DMDIR, NinePError, QTDIR, type Stat } from "../../codec.ts";
import { MemoryFs } from "../../fs/mod.ts";
import {
  type DirEntry,
  type FidNode,
  type Handler,
  serve,
} from "../../server.ts";
import { pair } from "../../transport.ts";

/** Runs a test with a client of a server. */
async function on(
  served: MemoryFs | Handler<MadeNode>,
  use: (client: Client) => Promise<void>,
): Promise<void> {
  const [near, far] = pair();
  const serving = served instanceof MemoryFs
    ? serve(far, served)
    : serve(far, served);
  const client = await connect(near);
  try {
    await use(client);
    // The reply to the stat comes after the clunks that no call waits for; some
    // of these run
    // functions.
    for (let i = 0; i < 5; i++) await client.stat(client.protocol.root);
    assertEquals(client.protocol.allocFid(), 1, "fids left");
  } finally {
    await client.close();
    await serving;
  }
}

/** An endless file. It counts the bytes that were read. */
class Endless {
  bytes = 0;
  readonly fs: MemoryFs;

  constructor(length: number) {
    this.fs = new MemoryFs({}, { mode: 0o777, uid: "none" });
    this.fs.define("endless", {
      length,
      read: ({ count }) => {
        this.bytes += count;
        return new Uint8Array(count).fill(0x78);
      },
    });
  }
}

// A file that a server computes has the length 0. The other files name a length
// that is too small, or far too large.
for (const length of [0, 300_000, 2 ** 40]) {
  test(`maxLength: the client reads little more of an endless file that names ${length} bytes`, async () => {
    for (const maxLength of [0, 1, 65535, 65536, 65537, 299_999, 1_000_000]) {
      const endless = new Endless(length);
      await on(endless.fs, async (client) => {
        for (const read of ["readFile", "readTextFile"] as const) {
          endless.bytes = 0;
          await assertRejects(
            () => client[read]("endless", { maxLength }),
            RangeError,
            `Cannot read "endless": it has more than ${maxLength} bytes (maxLength)`,
          );
          assertEquals(endless.bytes, maxLength + 1);
        }
      });
    }
  });
}

test("maxLength: a file of exactly this length is read, whatever length it names", async () => {
  for (const maxLength of [0, 1, 65535, 65536, 65537, 300_000]) {
    const content = new Uint8Array(maxLength).fill(1);
    const fs = new MemoryFs({ plain: content }, { uid: "none" });
    for (const [name, length] of [["none", 0], ["more", 2 ** 40]] as const) {
      fs.define(name, {
        length,
        read: ({ offset, count }) => content.subarray(offset, offset + count),
      });
    }
    await on(fs, async (client) => {
      for (const name of ["plain", "none", "more"]) {
        assertEquals(await client.readFile(name, { maxLength }), content);
      }
      if (maxLength === 0) return;
      await assertRejects(
        () => client.readFile("plain", { maxLength: maxLength - 1 }),
        RangeError,
      );
    });
  }
});

test("maxLength: readTextFile() counts bytes", async () => {
  await on(new MemoryFs({ f: "žž" }, { uid: "none" }), async (client) => {
    assertEquals(await client.readTextFile("f", { maxLength: 4 }), "žž");
    await assertRejects(
      () => client.readTextFile("f", { maxLength: 3 }),
      RangeError,
    );
  });
});

test("maxLength: values of call() and proxy()", async () => {
  const fs = new MemoryFs({ api: {} }, { uid: "none" });
  fs.register("api/big", () => "x".repeat(98)); // 100 bytes of JSON.
  await on(fs, async (client) => {
    const big = () => client.call("api/big", { maxLength: 99 });
    const message = 'Cannot call "api/big": it has more than 99 bytes';
    await assertRejects(big, RangeError, message);
    const value = await client.call("api/big", { maxLength: 100 });
    assertEquals(value, "x".repeat(98));
    await using tree = await client.attach();
    const api = await tree.proxy<{ big(): string }>("api", { maxLength: 99 });
    await assertRejects(() => api.big(), RangeError, message);
  });
});

test("maxLength must be a whole number from 0 on", async () => {
  await on(new MemoryFs({ f: "x" }, { uid: "none" }), async (client) => {
    for (const maxLength of [-1, 0.5, NaN, 2 ** 53]) {
      await assertRejects(
        () => client.readFile("f", { maxLength }),
        RangeError,
        `Cannot read "f": maxLength is ${maxLength}, the range is `,
      );
      await assertRejects(
        () => client.call("f", { maxLength }),
        RangeError,
        `Cannot call "f": maxLength is ${maxLength}, the range is `,
      );
    }
    assertEquals(await client.readTextFile("f", { maxLength: Infinity }), "x");
  });
});

/** A file or directory of {@linkcode Made}. */
interface MadeNode extends FidNode {
  readonly name: string;
  /** Its members, made anew for each listing. */
  readonly members: () => Iterable<MadeNode>;
}

/** A tree whose members are computed. */
class Made implements Handler<MadeNode> {
  /** Number of members that were listed. */
  listed = 0;
  removed = 0;
  readonly #root: MadeNode;

  constructor(root: MadeNode) {
    this.#root = root;
  }

  attach(): MadeNode {
    return this.#root;
  }

  walk(node: MadeNode, name: string): MadeNode | undefined {
    for (const member of node.members()) {
      if (member.name === name) return member;
    }
  }

  open(): void {}

  create(): never {
    throw new NinePError("permission denied");
  }

  read(): Uint8Array {
    return new Uint8Array(0);
  }

  *#members(node: MadeNode): Iterable<DirEntry> {
    for (const member of node.members()) {
      this.listed++;
      yield { stat: this.#statOf(member) };
    }
  }

  readdir({ node }: { node: MadeNode }): Iterable<DirEntry> {
    return this.#members(node);
  }

  stat({ node }: { node: MadeNode }): Stat {
    return this.#statOf(node);
  }

  remove(): void {
    this.removed++;
  }

  #statOf({ name, qid }: MadeNode): Stat {
    const isDir = (qid.type & QTDIR) !== 0;
    return {
      type: 0,
      dev: 0,
      qid,
      mode: isDir ? DMDIR + 0o777 : 0o666,
      atime: 0,
      mtime: 0,
      length: 0n,
      name,
      uid: "u",
      gid: "g",
      muid: "m",
    };
  }
}

function file(name: string, path: number): MadeNode {
  return {
    name,
    qid: { type: 0, vers: 0, path: BigInt(path) },
    members: () => [],
  };
}

function dir(
  name: string,
  path: number,
  members: () => Iterable<MadeNode>,
): MadeNode {
  return { name, qid: { type: QTDIR, vers: 0, path: BigInt(path) }, members };
}

/** An endless directory. Each of its members can be walked to. */
function endless(): MadeNode {
  function* members() {
    for (let i = 0;; i++) yield file(`f${i}`, 100 + i);
  }
  return dir("/", 1, () => [dir("d", 2, members)]);
}

/**
 * Maximum of listed members that the client has not received yet: those in
 * replies in flight.
 */
const AHEAD = 5_000;

test("an endless directory: readDir() and walkTree() give members as they come", async () => {
  const made = new Made(endless());
  await on(made, async (client) => {
    let count = 0;
    for await (const _ of client.readDir("d")) if (++count === 20_000) break;
    assert(made.listed < 20_000 + AHEAD);
    for await (const _ of client.walkTree("d")) if (++count === 40_000) break;
    assert(made.listed < 40_000 + 2 * AHEAD);
  });
});

test("an endless directory: methods that gather members end with an error", async () => {
  const made = new Made(endless());
  const target = new MemoryFs({}, { mode: 0o777, uid: "none" });
  const [near, far] = pair();
  void serve(far, target);
  await using other = await connect(near);
  const maxEntries = 3000;
  const gatherers: [string, (client: Client) => Promise<unknown>][] = [
    ["list", (client) => client.readDirNames("d", { maxEntries })],
    ["list", (client) => client.proxy("d", { maxEntries })],
    ["remove", (client) => client.remove("d", { recursive: true, maxEntries })],
    [
      'copy "d" to',
      (client) =>
        client.copy("d", "d", { recursive: true, maxEntries, target: other }),
    ],
  ];
  for (const [verb, gather] of gatherers) {
    await on(made, async (client) => {
      made.listed = 0;
      await assertRejects(
        () => gather(client),
        RangeError,
        `Cannot ${verb} "d": a directory has more than 3000 members (maxEntries)`,
      );
      // A walk to a member passes the members before it, which were not listed.
      assert(made.listed < maxEntries + 2 * AHEAD, `${made.listed}`);
    });
  }
});

test("an endless directory: remove() ends, even if each removed member goes away", async () => {
  const made = new Made(endless());
  await on(made, async (client) => {
    await assertRejects(
      () => client.remove("d", { recursive: true, maxEntries: 5000 }),
      RangeError,
      "a directory has more than 5000 members",
    );
    assert(made.removed > 4000 && made.removed <= 5000, `${made.removed}`);
  });
});

test("a proxy has at most 10,000 methods, unless more are asked for", async () => {
  const made = new Made(endless());
  await on(made, async (client) => {
    await assertRejects(
      () => client.proxy("d"),
      RangeError,
      'Cannot list "d": a directory has more than 10000 members (maxEntries)',
    );
  });
});

test("maxEntries must be a whole number from 0 on", async () => {
  await on(new MemoryFs({ d: {} }, { uid: "none" }), async (client) => {
    const recursive = true;
    for (const maxEntries of [-1, 0.5, NaN, 2 ** 53]) {
      const message = `maxEntries is ${maxEntries}, the range is `;
      for (
        const call of [
          () => client.readDirNames("d", { maxEntries }),
          () => client.proxy("d", { maxEntries }),
          () => client.remove("d", { maxEntries, recursive }),
          () => client.copy("d", "e", { maxEntries, recursive }),
        ]
      ) await assertRejects(call, RangeError, message);
    }
    assertEquals(await client.readDirNames("d", { maxEntries: 0 }), []);
  });
});

test("directories of more than a batch are copied and removed as a whole", async () => {
  const names = Array.from({ length: 5000 }, (_, i) => `f${i}`);
  const content = Object.fromEntries(names.map((name) => [name, ""]));
  const fs = new MemoryFs({ d: { e: content } }, { mode: 0o777, uid: "none" });
  await on(fs, async (client) => {
    await client.copy("d", "copy", { recursive: true });
    const copied = await client.readDirNames("copy/e");
    assertEquals(copied.sort(), names.sort());
    await client.remove("d", { recursive: true });
    assertEquals(await client.readDirNames("/"), ["copy"]);
  });
});

test("a failing copy gives up the directories that it reads", async () => {
  const names = Array.from({ length: 5000 }, (_, i) => `f${i}`);
  const content = Object.fromEntries(names.map((name) => [name, ""]));
  const fs = new MemoryFs({ d: { e: content } }, { mode: 0o777, uid: "none" });
  await on(fs, async (client) => {
    let count = 0;
    const enough = new Error("enough");
    const onProgress = () => {
      if (++count === 100) throw enough;
    };
    await assertRejects(
      () => client.copy("d", "copy", { recursive: true, onProgress }),
      Error,
      "enough",
    );
  });
});

/**
 * Trees with a directory that contains itself, and the path where the client
 * finds that.
 */
const LOOPS: Record<string, [MadeNode, found: string, again: string]> = {
  "at once": (() => {
    const d: MadeNode = dir("d", 2, () => [file("a", 3), again]);
    const again = dir("again", 2, () => d.members());
    return [dir("/", 1, () => [d]), "d/again", "d"];
  })(),
  "further down": (() => {
    const d: MadeNode = dir("d", 2, () => [dir("b", 3, () => [up])]);
    const up = dir("up", 2, () => d.members());
    return [dir("/", 1, () => [d]), "d/b/up", "d"];
  })(),
  "as the root": (() => {
    const root: MadeNode = dir("/", 0, () => [dir("d", 2, () => [up])]);
    const up = dir("up", 0, () => root.members());
    return [root, "d/up/d", "d"];
  })(),
};

for (const [where, [root, found, again]] of Object.entries(LOOPS)) {
  test(`a directory that contains itself ${where} is ELOOP`, async () => {
    const calls: [string, (client: Client) => Promise<unknown>][] = [
      ["list", (client) => Array.fromAsync(client.walkTree("d"))],
      ["remove", (client) => client.remove("d", { recursive: true })],
    ];
    for (const [verb, call] of calls) {
      await on(new Made(root), async (client) => {
        const error = await assertRejects(
          () => call(client),
          NinePError,
          `Cannot ${verb} "${found}": Too many levels of symbolic links: the directory is the same as "${again}", which contains it`,
        );
        assertEquals(error.code, "ELOOP");
      });
    }
    const [near, far] = pair();
    void serve(far, new MemoryFs({}, { mode: 0o777, uid: "none" }));
    await using target = await connect(near);
    await on(new Made(root), async (client) => {
      const error = await assertRejects(
        () => client.copy("d", "d", { recursive: true, target }),
        NinePError,
        `Cannot copy "${found}" to "${found}": Too many levels of symbolic links`,
      );
      assertEquals(error.code, "ELOOP");
    });
  });
}

test("a tree whose directories all have one qid is walked, copied and removed", async () => {
  const root = dir("/", 1, () => [
    dir("d", 1, () => [
      file("f", 1),
      dir("e", 1, () => [dir("empty", 1, () => []), file("g", 1)]),
    ]),
  ]);
  await on(new Made(root), async (client) => {
    const paths = await Array.fromAsync(client.walkTree("d"), (e) => e.path);
    assertEquals(paths, ["d", "d/f", "d/e", "d/e/empty", "d/e/g"]);
  });
});

test("one directory by two names is no loop", async () => {
  const shared = (name: string) => dir(name, 3, () => [file("f", 4)]);
  const root = dir("/", 1, () => [
    dir("d", 2, () => [shared("a"), shared("b")]),
  ]);
  await on(new Made(root), async (client) => {
    const paths = await Array.fromAsync(client.walkTree("d"), (e) => e.path);
    assertEquals(paths, ["d", "d/a", "d/a/f", "d/b", "d/b/f"]);
    const [near, far] = pair();
    const fs = new MemoryFs({}, { mode: 0o777, uid: "none" });
    void serve(far, fs);
    await using target = await connect(near);
    await client.copy("d", "d", { recursive: true, target });
    assertEquals(await target.readDirNames("d/b"), ["f"]);
  });
});

test("an endless chain of different directories ends at a depth", () => {
  const loops = new LoopDetector();
  const steps: DirectoryLevel[] = [];
  const enter = () => {
    const path = BigInt(steps.length);
    const qid = { type: QTDIR, vers: 0, path };
    steps.push(loops.enter(qid, "d", ["d"], steps.at(-1)));
  };
  while (steps.length <= 100_000) enter();
  const error = assertThrows(
    enter,
    NinePError,
    "Too many levels of symbolic links: the tree has more than 100000 levels",
  );
  assertEquals(error.code, "ELOOP");
});
