// The conformance kit over each composition.
import { assertEquals } from "@std/assert";
import { makeTree } from "../../../examples/conformance_server.ts";
import {
  choose,
  forUser,
  MemoryFs,
  mount,
  type ServableTree,
  subtree,
  union,
  wrapTree,
} from "../../../mod.ts";
import { inMemory } from "../../kit/host.ts";
import { formatResult, runConformance } from "../../conformance/mod.ts";
import { test } from "../../harness.ts";
import { PlainTree } from "../plain_tree.ts";

/** Cases that need an authentication: that is a matter of handlers. */
const AUTH = "S28 S29 S30".split(" ");

/** Cases that need a second user. */
const USERS = "S49 S52 S66 S69 S82 S91 S96 S97 S102 S103 S105".split(" ");

/** Cases that need files of the kit's own server. */
const FILES =
  ("S52 S83 S107 S109 S110 S112 S113 S114 S115 S116 S117 S118 S119 S120 " +
    "S121 S122 S123 S124 S125 S126").split(" ");

const empty = () => new MemoryFs({}, { mode: 0o777 });

interface Subject {
  make: () => ServableTree;
  /** Cases that the tree has nothing for, beside AUTH. */
  lacks?: string[];
  /** Cases that are not for this tree. */
  skip?: string[];
}

const subjects: Record<string, Subject> = {
  "wrapTree()": {
    make: () => wrapTree(makeTree(), { qid: (qid) => ({ ...qid }) }),
  },
  "mount() at the root": {
    make: () => mount({ "/": makeTree(), "/a/b": empty() }),
  },
  "mount() and subtree()": {
    make: () => subtree(mount({ "/": empty(), "/a/b": makeTree() }), "/a/b"),
  },
  "choose()": {
    make: () => {
      const fs = makeTree();
      return choose(({ aname }) => aname === "" ? fs : undefined);
    },
  },
  // All users are one.
  "forUser()": {
    make: () => forUser(makeTree(), "glenda"),
    lacks: USERS,
    skip: ["S34"],
  },
  "union() with an empty lower tree": {
    make: () => union(makeTree(), empty()),
  },
  "union() with an empty upper tree": {
    make: () => union(empty(), makeTree()),
  },
  // The plain tree has no times and one group, and takes any name of a tree.
  "union() and mount() of plain trees": {
    make: () =>
      mount({ "/": union(new PlainTree(), new PlainTree({ x: "x" })) }),
    lacks: FILES,
    skip: "S33 S50 S57 S66 S69 S81 S82 S92".split(" "),
  },
};

for (
  const [name, { make, lacks = [], skip = [] }] of Object.entries(subjects)
) {
  test(`conformance kit over ${name}`, async () => {
    await using host = await inMemory(make().handler, { onError: () => {} });
    const options = { strict: true, randomTime: 200, skip };
    const failed: string[] = [];
    const skipped: string[] = [];
    for await (const result of runConformance(host.connect, options)) {
      if (result.status === "skip") skipped.push(result.id);
      else if (result.status !== "ok") failed.push(formatResult(result));
    }
    assertEquals(failed, []);
    assertEquals(skipped, [...AUTH, ...lacks]);
  });
}
