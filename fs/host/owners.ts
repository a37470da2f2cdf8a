// The names of users and groups of the host.

import type { HostFiles } from "./system.ts";

/** Names by number, and numbers by name. */
interface Names {
  readonly byNumber: ReadonlyMap<number, string>;
  readonly byName: ReadonlyMap<string, number>;
}

const NONE: Names = { byNumber: new Map(), byName: new Map() };

/**
 * The users and groups of the host. If a user or group has no known name, the
 * name is the number.
 */
export class Owners {
  readonly #users: Names;
  readonly #groups: Names;

  private constructor(users: Names, groups: Names) {
    this.#users = users;
    this.#groups = groups;
  }

  /** Reads `/etc/passwd` and `/etc/group`, if the process may read them. */
  static async load(files: HostFiles): Promise<Owners> {
    const [users, groups] = await Promise.all(
      ["/etc/passwd", "/etc/group"].map(async (path) => {
        try {
          return parseNames(await files.readFile(path, "utf8"));
        } catch {
          return NONE; // The runtime, or the host, does not show them.
        }
      }),
    );
    return new Owners(users ?? NONE, groups ?? NONE);
  }

  /** Name of a user. */
  user(uid: number): string {
    return this.#users.byNumber.get(uid) ?? String(uid);
  }

  /** Name of a group. */
  group(gid: number): string {
    return this.#groups.byNumber.get(gid) ?? String(gid);
  }

  /** Number of a user; undefined for a name that the host does not know. */
  userNumber(name: string): number | undefined {
    return this.#users.byName.get(name) ?? numberOf(name);
  }

  /** Number of a group; undefined for a name that the host does not know. */
  groupNumber(name: string): number | undefined {
    return this.#groups.byName.get(name) ?? numberOf(name);
  }
}

/**
 * Parses lines of `name:password:number:…`. If a name or a number occurs twice,
 * the first line counts.
 */
export function parseNames(text: string): Names {
  const byNumber = new Map<number, string>();
  const byName = new Map<string, number>();
  for (const line of text.split("\n")) {
    const [name = "", , field = ""] = line.split(":");
    const number = numberOf(field);
    if (name === "" || name.startsWith("#") || number === undefined) continue;
    if (new TextEncoder().encode(name).length > 255) continue;
    if (!byNumber.has(number)) byNumber.set(number, name);
    if (!byName.has(name)) byName.set(name, number);
  }
  return { byNumber, byName };
}

/**
 * Parses the number of a user or group, 0 to 2^32 - 2. Returns undefined for
 * any other text.
 */
function numberOf(text: string): number | undefined {
  if (!/^[0-9]{1,10}$/.test(text)) return undefined;
  const number = Number(text);
  return number < 0xFFFFFFFF ? number : undefined;
}
