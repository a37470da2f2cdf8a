// The access that users have to a file: rights of owner, group and others, and the groups
// of a user database. See open(9P), stat(9P), users(6).

import { NinePError } from "../../codec.ts";

/** A group of a user database. */
export interface Group {
  /** Members, beside the user with the name of the group; none by default. */
  readonly members?: readonly string[];
  /** Leader of the group; every member by default. */
  readonly leader?: string;
}

/**
 * A user database: the groups by name. Each user has a group of the same name,
 * `glenda: {}`, of which the user is a member.
 *
 * The library looks it up at each check, so a program may change the object.
 */
export interface Users {
  /** A group by its name. */
  readonly [name: string]: Group;
}

/** The attributes that decide on the access to a file. */
export interface Owned {
  /** Permissions and DM bits. */
  readonly mode: number;
  /** Owner. */
  readonly uid: string;
  /** Group. */
  readonly gid: string;
}

/** Access to read. */
export const READ = 4;
/** Access to write. */
export const WRITE = 2;
/** Access to execute, or to walk from a directory. */
export const EXECUTE = 1;

/**
 * Returns a group of the database. Names come over the wire, so prototypes are
 * not searched.
 */
function groupOf(users: Users, gid: string): Group | undefined {
  return Object.hasOwn(users, gid) ? users[gid] : undefined;
}

/**
 * Tells whether a user is a member of a group. Without a database, a user is a
 * member of the group of the same name only.
 */
export function isMember(
  users: Users | undefined,
  uname: string,
  gid: string,
): boolean {
  if (users === undefined) return uname === gid;
  const group = groupOf(users, gid);
  if (group === undefined) return false;
  return uname === gid || (group.members?.includes(uname) ?? false);
}

/**
 * Tells whether a user leads a group. Without a database, a user leads the
 * group of the same name.
 */
export function isLeader(
  users: Users | undefined,
  uname: string,
  gid: string,
): boolean {
  const leader = users && groupOf(users, gid)?.leader;
  return leader === undefined ? isMember(users, uname, gid) : uname === leader;
}

/** Tells whether a user has all of an access: rights of owner, group and others add up. */
export function permits(
  users: Users | undefined,
  { mode, uid, gid }: Owned,
  uname: string,
  access: number,
): boolean {
  if ((mode & access) === access) return true;
  const group = mode | mode >> 3;
  if (uname === uid) return ((group | mode >> 6) & access) === access;
  return (group & access) === access && isMember(users, uname, gid);
}

/** Tells whether a user may change mode and times of a file: its owner, or the leader of its group. */
export function governs(
  users: Users | undefined,
  { uid, gid }: Owned,
  uname: string,
): boolean {
  return uname === uid || isLeader(users, uname, gid);
}

/**
 * Throws if a user may not give a file another group. The owner may do this as
 * a member of the new group, and the leader of both groups may.
 */
export function checkGroup(
  users: Users | undefined,
  file: Owned,
  uname: string,
  gid: string,
): void {
  if (users !== undefined && groupOf(users, gid) === undefined) {
    throw new NinePError("unknown group");
  }
  const owns = uname === file.uid && isMember(users, uname, gid);
  const leads = isLeader(users, uname, file.gid) && isLeader(users, uname, gid);
  if (!owns && !leads) throw new NinePError("not a member of proposed group");
}

/**
 * Throws for attributes that no stat record can hold, as programs without types
 * may give them.
 */
export function checkAttributes(
  what: string,
  mode: number,
  ...users: unknown[]
): void {
  if ((mode >>> 0) !== mode) {
    throw new RangeError(
      `${what}: mode is ${mode}, the range is 0 to 4294967295`,
    );
  }
  for (const user of users) {
    if (typeof user === "string") continue;
    throw new TypeError(`${what}: a user is ${typeof user}, not a text`);
  }
}
