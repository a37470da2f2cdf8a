// Passes connections on to the trees of a composition.

import type { Connection } from "../../transport.ts";
import type { Tree } from "../tree.ts";

/**
 * Returns the `connect` and `disconnect` of a tree that is made of others. When
 * a tree refuses a connection, the trees that have accepted the connection are
 * disconnected from it.
 */
export function connectionHooks(
  trees: readonly Tree[],
): Pick<Tree, "connect" | "disconnect"> {
  const informed = trees.filter(({ connect, disconnect }) =>
    connect !== undefined || disconnect !== undefined
  );
  if (informed.length === 0) return {};
  return {
    connect: async (connection) => {
      const connected: Tree[] = [];
      try {
        for (const tree of informed) {
          await tree.connect?.(connection);
          connected.push(tree);
        }
      } catch (error) {
        await disconnectAll(connected, connection).catch(() => {});
        throw error;
      }
    },
    disconnect: (connection) => disconnectAll(informed, connection),
  };
}

/** Disconnects all trees, and then throws the first of their errors. */
async function disconnectAll(
  trees: readonly Tree[],
  connection: Connection,
): Promise<void> {
  const errors: unknown[] = [];
  for (const tree of trees) {
    try {
      await tree.disconnect?.(connection);
    } catch (error) {
      errors.push(error);
    }
  }
  if (errors.length > 0) throw errors[0];
}
