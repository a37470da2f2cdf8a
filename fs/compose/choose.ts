// A tree that the program chooses at each attach.

import { NinePError } from "../../codec.ts";
import type { AttachRequest, Awaitable, RequestContext } from "../../server.ts";
import { type ServableTree, treeOf } from "../rules.ts";
import type { Tree } from "../tree.ts";
import { View } from "./wrap.ts";

/**
 * Makes a tree that depends on the user and on the name of the tree (`aname`)
 * at the attach. The client attaches to the main tree of the chosen tree, with
 * an empty `aname`. The rules of the chosen tree apply to its files.
 *
 * Trees that one client may use at the same time need different qid paths. Two
 * MemoryFs have different paths. The functions `connect` and `disconnect` of
 * the trees are not called.
 *
 * @param choose Returns the tree; undefined if there is none, and the client
 *   then gets `file does not exist`. An error that it throws is the error of
 *   the attach. It should return the same tree again for the same user.
 * @returns The tree to serve.
 *
 * @example Two trees by name
 * ```ts
 * import { choose, connect, MemoryFs, pair, serve } from "@ninep/ninep";
 * import { assertEquals } from "@std/assert";
 *
 * const trees = new Map([
 *   ["", new MemoryFs({ motd: "hello\n" })],
 *   ["archive", new MemoryFs({ motd: "once\n" })],
 * ]);
 * const [here, there] = pair();
 * const served = serve(there, choose(({ aname }) => trees.get(aname)));
 * const client = await connect(here, { aname: "archive" });
 * assertEquals(await client.readTextFile("motd"), "once\n");
 * await client.close();
 * await served;
 * ```
 */
export function choose(
  choose: (
    request: AttachRequest,
    context: RequestContext,
  ) => Awaitable<Tree | undefined>,
): ServableTree {
  const views = new WeakMap<Tree, View>();
  return treeOf({
    attach: async (request, context) => {
      const tree = await choose(request, context);
      if (tree === undefined) throw new NinePError("file does not exist");
      let view = views.get(tree);
      if (view === undefined) views.set(tree, view = new View(tree, {}));
      return view.attach({ ...request, aname: "" }, context);
    },
  });
}
