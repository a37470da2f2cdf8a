// Lists a directory of the host in batches, while it is being read.

import type { Attributes, DirEntry } from "../../server.ts";
import { attributesOf } from "./attributes.ts";
import { type Checks, type DirPlace, isGone, pathOf } from "./directories.ts";
import type { Host } from "./host.ts";
import { isHostName, isTooLong } from "./names.ts";
import {
  BIG,
  codeOfError,
  type HostDirStream,
  type HostFiles,
  type HostStats,
} from "./system.ts";

/**
 * Number of members in the first batch and in later batches. The first batch is
 * small, so that the first reply comes soon.
 */
const FIRST = 16;
const BATCH = 64;

/** A directory that can be listed. */
export interface ListedDir extends DirPlace {
  readonly host: Host;
  at<T>(
    use: (path: string) => Promise<T>,
    checks?: Checks<T>,
  ): Promise<T>;
  /**
   * Finds the attributes of a member, or of the target of a link if links are
   * followed.
   */
  followed(name: string): Promise<Attributes | undefined>;
}

/** A directory that is open for reading its names. */
interface Names {
  take(count: number): Promise<string[]>;
  close(): Promise<void>;
}

/**
 * Lists a directory.
 *
 * @param cookie Number of names, in the order of the host, that the client has
 *   already got.
 */
export async function* listEntries(
  dir: ListedDir,
  cookie: number,
): AsyncGenerator<DirEntry, void, void> {
  const { host } = dir;
  const names = await openNames(dir);
  try {
    let position = 0;
    for (let count = FIRST;; count = BATCH) {
      const batch = await names.take(count);
      if (batch.length === 0) return;
      const start = position;
      position += batch.length;
      if (position <= cookie) continue;
      const { files } = host.system;
      const found = await dir.at((path) =>
        Promise.all(batch.map((name) => look(host, files, path, name)))
      );
      for (const [i, name] of batch.entries()) {
        const entry = found[i];
        if (start + i < cookie || entry === undefined) continue;
        const stat = host.settings.followLinks && entry.stats.isSymbolicLink()
          ? await dir.followed(name)
          : attributesOf(
            entry.stats,
            { qid: host.qidOf(entry.stats), name, target: entry.target },
            host.owners,
          );
        if (stat !== undefined) yield { stat, cookie: start + i + 1 };
      }
    }
  } finally {
    await host.track(names.close());
  }
}

/**
 * Returns the attributes of a member; undefined if it was removed, or if
 * clients cannot use its name.
 */
async function look(
  host: Host,
  files: HostFiles,
  path: string,
  name: string,
): Promise<{ stats: HostStats; target: string | undefined } | undefined> {
  if (!isHostName(name, host.system.platform) || isTooLong(name)) {
    return undefined;
  }
  try {
    const stats = await files.lstat(`${path}/${name}`, BIG);
    const target = stats.isSymbolicLink()
      ? await files.readlink(`${path}/${name}`).catch(() => undefined)
      : undefined;
    return { stats, target: target?.includes("\uFFFD") ? undefined : target };
  } catch (error) {
    if (isGone(error)) return undefined;
    throw error;
  }
}

/** Opens a directory to read its names, and counts one descriptor for it. */
async function openNames(dir: ListedDir): Promise<Names> {
  const { host } = dir;
  host.descriptors.take();
  try {
    const opened = await dir.at(
      (path) => openStream(host, path),
      { discard: (names) => names.close() },
    );
    let closed: Promise<void> | undefined;
    return {
      take: opened.take,
      close: () =>
        closed ??= opened.close().finally(() => host.descriptors.give()),
    };
  } catch (error) {
    host.descriptors.give();
    throw error;
  }
}

/**
 * Opens a directory and reads its first name. Some runtimes open the directory
 * only at the first read, so the path must be valid until then.
 */
async function openStream(host: Host, path: string): Promise<Names> {
  const { system: { files, flags }, directories: { isHeld } } = host;
  if (!isHeld) return await begin(await files.opendir(path));
  const handle = await files.open(`${path}/.`, flags.RDONLY | flags.DIRECTORY);
  try {
    const names = await begin(await files.opendir(pathOf(handle)));
    return {
      take: names.take,
      close: () => names.close().finally(() => handle.close()),
    };
  } catch (error) {
    await handle.close();
    throw error;
  }
}

/** Reads the first name at once. */
async function begin(stream: HostDirStream): Promise<Names> {
  let ahead: { readonly name: string } | null;
  try {
    ahead = await stream.read();
  } catch (error) {
    await close(stream);
    throw error;
  }
  return {
    async take(count) {
      const names: string[] = [];
      while (ahead !== null && names.length < count) {
        names.push(ahead.name);
        ahead = await stream.read();
      }
      return names;
    },
    close: () => close(stream),
  };
}

async function close(stream: HostDirStream): Promise<void> {
  try {
    await stream.close();
  } catch (error) {
    // Some runtimes close the directory after the last name.
    if (codeOfError(error) !== "ERR_DIR_CLOSED") throw error;
  }
}
