// Listings that serve() accepts: iterables of any kind, current ones, and wrong
// entries.
import { assertEquals, assertMatch } from "@std/assert";
import { connect } from "../../client.ts";
import { NinePError, QTDIR } from "../../codec.ts";
import { type DirEntry, type Handler, serve } from "../../server.ts";
import { pair } from "../../transport.ts";
import { test } from "../harness.ts";
import { nextTask, statOf, Toy } from "./toy.ts";

/**
 * Lists a directory with several clients at once, and returns the names that
 * each client has found.
 */
async function listsOf(
  readdir: NonNullable<Handler["readdir"]>,
  readers = 1,
): Promise<{ lists: string[]; errors: unknown[] }> {
  const errors: unknown[] = [];
  const dir = { qid: { type: QTDIR, vers: 0, path: 0n } };
  const list = async () => {
    const [near, far] = pair();
    const served = serve(far, {
      attach: () => dir,
      walk: () => undefined,
      open: () => {},
      readdir,
    }, { onError: (error) => errors.push(error) });
    const client = await connect(near);
    const found: string[] = [];
    try {
      for await (const { name } of client.readDir("/")) found.push(name);
    } catch (error) {
      found.push(String(error));
    }
    await client.close();
    await served;
    return found.join();
  };
  const lists = await Promise.all(Array.from({ length: readers }, list));
  return { lists: lists.sort(), errors };
}

function entry(name: string): DirEntry {
  return { stat: { ...statOf(new Toy().a), name } };
}

test("Handler: a listing is an iterable of any kind, also for several at a time", async () => {
  const three = ["aa", "bb", "cc"];
  const all = [three.join()];
  const kinds: [string, NonNullable<Handler["readdir"]>][] = [
    ["an array", () => three.map(entry)],
    ["an array later", () => Promise.resolve(three.map(entry))],
    ["a generator", function* () {
      for (const name of three) yield entry(name);
    }],
    ["an asynchronous generator", async function* () {
      for (const name of three) {
        await nextTask();
        yield entry(name);
      }
    }],
  ];
  for (const [what, readdir] of kinds) {
    assertEquals((await listsOf(readdir)).lists, all, what);
  }
  let asked = 0;
  const later = async () => {
    const name = `n${asked++}`;
    await null;
    return [entry(name)];
  };
  const { lists } = await listsOf(later, 5);
  assertEquals(lists, ["n0", "n1", "n2", "n3", "n4"]);
});

test("Handler: a member with an illegal name is left out and reported", async () => {
  for (const name of ["", ".", "..", "a/b"]) {
    const members = ["aa", name, "cc"].map(entry);
    const kinds: [string, NonNullable<Handler["readdir"]>][] = [
      ["an array", () => members],
      ["a current listing", () => {
        return Object.assign([...members], { isCurrent: true });
      }],
      ["an asynchronous generator", async function* () {
        await nextTask();
        yield* members;
      }],
    ];
    for (const [what, readdir] of kinds) {
      const { lists, errors } = await listsOf(readdir);
      assertEquals(lists, ["aa,cc"], what);
      assertEquals(errors.length, 1, what);
      assertMatch(String(errors[0]), /Cannot list .*: the name is illegal/);
    }
  }
});

test("Handler: a listing that fails gives what it had before", async () => {
  const { lists, errors } = await listsOf(async function* () {
    yield entry("aa");
    await nextTask();
    throw new NinePError("permission denied");
  });
  assertEquals(lists, ['aa,NinePError: Cannot list "/": permission denied']);
  assertEquals(errors, []);
});

test("Handler: a listing that is current is encoded once, until it has changed", async () => {
  let asked = 0;
  let names = ["aa", "bb"];
  const current = () => {
    const listing = {
      isCurrent: true,
      *[Symbol.iterator]() {
        asked++;
        for (const name of names) yield entry(name);
      },
    };
    return listing;
  };
  let listing = current();
  assertEquals((await listsOf(() => listing, 3)).lists, [
    "aa,bb",
    "aa,bb",
    "aa,bb",
  ]);
  const { lists } = await listsOf(() => listing);
  assertEquals(lists, ["aa,bb"]);
  assertEquals(asked, 1, "times that the members were taken, for four clients");
  names = ["aa", "cc"];
  listing.isCurrent = false;
  assertEquals((await listsOf(() => listing)).lists, ["aa,cc"]);
  assertEquals(asked, 2, "a listing that has changed is taken anew");
  listing = current();
  assertEquals((await listsOf(() => listing)).lists, ["aa,cc"]);
  assertEquals(asked, 3, "so is another listing");
});
