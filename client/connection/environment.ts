// The state that all calls of one client share.

import { RefGroup } from "../../transport/ref_group.ts";
import { AbortListeners } from "./abort.ts";

/**
 * The state that all calls of one client share, on all its sessions and
 * connections.
 */
export class Environment {
  /** The listeners on the signals of callers. */
  readonly aborts: AbortListeners = new AbortListeners();
  /** The connections and timers. They keep the process alive, or do not. */
  readonly refs: RefGroup = new RefGroup();
}
