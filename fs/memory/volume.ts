// The input for new nodes of a tree in memory, and the state that they share.

import type { Qid } from "../../codec.ts";
import { firstPath } from "../first_path.ts";
import type { Quota } from "./quota.ts";

/** Now, in seconds since 1970-01-01 UTC. */
export function now(): number {
  return Math.floor(Date.now() / 1000);
}

/** The input for a new node. */
export interface NodeInit<N> {
  /** Name in its directory. */
  name: string;
  /** Number for its qid, never used before in the tree. */
  path: bigint;
  /** Permissions and DM bits. */
  mode: number;
  /** Owner, and the user that modified it last. */
  uid: string;
  /** Group. */
  gid: string;
  /** The tree that the node is of. */
  volume: Volume<N>;
}

/** The state that all nodes of a tree share. */
export class Volume<N> {
  /** The room of the tree. */
  readonly quota: Quota;
  /** Most bytes of a name. */
  readonly maxName: number;
  /** Makes a plain file, as clients do. */
  readonly makeFile: (init: NodeInit<N>) => N;
  /** Makes a further name of a file. */
  readonly makeLink: (target: N, name: string) => N;
  // Qid paths come from a counter, so no path is used twice. The counter starts
  // at a random number, so that a client of a restarted server does not take
  // another file for the file that it had.
  #lastPath = firstPath() - 1n;

  constructor(
    quota: Quota,
    maxName: number,
    makeFile: (init: NodeInit<N>) => N,
    makeLink: (target: N, name: string) => N,
  ) {
    this.quota = quota;
    this.maxName = maxName;
    this.makeFile = makeFile;
    this.makeLink = makeLink;
  }

  /** Returns the input for a new node, with a new qid. */
  init(name: string, mode: number, uid: string, gid: string): NodeInit<N> {
    return { name, path: ++this.#lastPath, mode, uid, gid, volume: this };
  }
}

/** The attributes that all names of a file share. */
export class SharedAttributes<N> {
  readonly qid: Qid;
  readonly volume: Volume<N>;
  mode: number;
  uid: string;
  gid: string;
  muid: string;
  atime: number;
  mtime: number;
  /** Number of fids that have it open. */
  opens = 0;
  /** Number of its names. */
  links = 0;
  /** Its further names, if it has ever had one. */
  furtherNames: Set<N> | undefined = undefined;
  /** Counts changes, so that an encoded record can be used again. */
  changes = 0;

  constructor(init: NodeInit<N>) {
    this.qid = { type: init.mode >>> 24, vers: 0, path: init.path };
    this.volume = init.volume;
    this.mode = init.mode;
    this.uid = init.uid;
    this.gid = init.gid;
    this.muid = init.uid;
    this.atime = this.mtime = now();
  }
}
