/**
 * A host directory that is served to raw clients, with files outside that no
 * client must reach.
 *
 * @module
 */

import { assertEquals } from "@std/assert";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { HostFs, type HostFsOptions } from "../../../fs/mod.ts";
import { serve, type ServeOptions } from "../../../server.ts";
import { pair } from "../../../transport.ts";
import { openChannel } from "../../../transport/channel.ts";
import { NOTAG } from "../../../codec.ts";
import { withFolder } from "../../folder.ts";
import { TreeClient } from "../tree_client.ts";

/** Content of a file outside. */
export const BAIT = "BAIT: nobody must read this";

/** A host directory that is served. */
export interface HostTree {
  /** Path of the directory. */
  readonly dir: string;
  /** Path of a directory beside it, with a file `bait`. */
  readonly outside: string;
  readonly fs: HostFs;
  /** Errors that the server took for defects. */
  readonly defects: unknown[];
  /** A client whose fid 0 is the root. */
  client(uname?: string): Promise<TreeClient>;
}

/** Serves an empty directory, and checks in the end that the bait is as it was. */
export async function withHost(
  options: HostFsOptions,
  use: (tree: HostTree) => Promise<void>,
): Promise<void> {
  await withFolder(async (folder) => {
    const dir = `${folder}/export`;
    const outside = `${folder}/outside`;
    await mkdir(dir, { mode: 0o755 });
    await mkdir(outside);
    await writeFile(`${outside}/bait`, BAIT);
    const fs = new HostFs(dir, options);
    const defects: unknown[] = [];
    const clients: TreeClient[] = [];
    const served: Promise<void>[] = [];
    const client = async (uname = "glenda") => {
      const [here, there] = pair();
      const onError: ServeOptions["onError"] = (error, { expected }) => {
        if (!expected) defects.push(error);
      };
      served.push(serve(there, fs, { onError }));
      const client = new TreeClient(openChannel(here));
      clients.push(client);
      await client.ask(
        { type: "Tversion", msize: 65536, version: "9P2000" },
        NOTAG,
      );
      await client.attach(0, uname);
      return client;
    };
    try {
      await use({ dir, outside, fs, defects, client });
    } finally {
      for (const client of clients) client.close();
      await Promise.all(served);
    }
    assertEquals(await readFile(`${outside}/bait`, "utf8"), BAIT);
  });
}

/** Serves a directory that clients may change. */
export function withWritableHost(
  use: (tree: HostTree) => Promise<void>,
): Promise<void> {
  return withHost({ readonly: false }, use);
}
