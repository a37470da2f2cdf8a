/**
 * Clients of any tree, for tests of compositions: raw ones, and those of the
 * library.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { DMDIR, NOTAG } from "../../../codec.ts";
import { type Client, connect, type ServableTree } from "../../../mod.ts";
import { isDir } from "../../../fs/compose/wrap.ts";
import type { Tree, TreeDir } from "../../../fs/mod.ts";
import {
  type Awaitable,
  type RequestContext,
  serve,
  type ServeOptions,
} from "../../../server.ts";
import { openChannel } from "../../../transport/channel.ts";
import { type Connection, pair } from "../../../transport.ts";
import { TreeClient } from "../tree_client.ts";

/** A tree that is served, with any number of clients. */
export class Scene implements AsyncDisposable {
  /**
   * Errors that the sessions reported and that were no answers to a client.
   */
  readonly reports: unknown[] = [];
  readonly #tree: ServableTree;
  readonly #options: ServeOptions;
  readonly #close: (() => unknown)[] = [];
  readonly #served: Promise<void>[] = [];

  constructor(tree: ServableTree, options: ServeOptions = {}) {
    this.#tree = tree;
    this.#options = {
      onError: (error, { expected }) => {
        if (!expected) this.reports.push(error);
      },
      ...options,
    };
  }

  #pair(): Connection {
    const [here, there] = pair();
    this.#served.push(serve(there, this.#tree, this.#options));
    return here;
  }

  /** A raw client whose fid 0 is the root. */
  async raw(uname = "glenda", aname = ""): Promise<TreeClient> {
    const client = new TreeClient(openChannel(this.#pair()));
    this.#close.push(() => client.close());
    const version = { type: "Tversion", version: "9P2000" } as const;
    await client.ask({ ...version, msize: 65536 }, NOTAG);
    await client.attach(0, uname, aname);
    return client;
  }

  /** A client. */
  async client(uname = "glenda", aname = ""): Promise<Client> {
    const client = await connect(this.#pair(), { uname, aname });
    this.#close.push(() => client.close());
    return client;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const close of this.#close) await close();
    await Promise.all(this.#served);
    assertEquals(this.reports, []);
  }
}

/** Names of a directory, sorted. */
export async function namesOf(client: Client, path: string): Promise<string[]> {
  const names: string[] = [];
  for await (const { name } of client.readDir(path)) names.push(name);
  return names.sort();
}

/** A context for a tree without a session. */
export function contextOf(uname = "glenda"): RequestContext {
  const { signal } = new AbortController();
  const context = { uname, signal, report: () => {} };
  return context as unknown as RequestContext; // The rest of it is not used.
}

/** The root of a tree that is asked without a session. */
export function rootOf(tree: Tree): Awaitable<TreeDir> {
  const request = { uname: "glenda", aname: "", afid: undefined };
  return tree.attach(request, contextOf());
}

/** The directory of a name. */
export async function dirIn(dir: TreeDir, name: string): Promise<TreeDir> {
  const found = await dir.lookup(name, contextOf());
  assert(found !== undefined && isDir(found), name);
  return found;
}

/** All paths of a tree with their contents, as a client sees them. */
export async function contents(
  client: Client,
  path = "",
): Promise<Record<string, string>> {
  const all: Record<string, string> = {};
  for await (const { name, mode } of client.readDir(path || "/")) {
    const full = `${path}${name}`;
    if (mode >= DMDIR) {
      all[`${full}/`] = "";
      Object.assign(all, await contents(client, `${full}/`));
    } else all[full] = await client.readTextFile(full);
  }
  return all;
}
