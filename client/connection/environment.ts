// What all calls of one client share.

import { RefGroup } from "../../transport/ref_group.ts";
import { AbortListeners } from "./abort.ts";

/** What all calls of one client share, whatever their session and connection. */
export class Environment {
  /** Where calls listen to the signals of their callers. */
  readonly aborts: AbortListeners = new AbortListeners();
  /** The connections and timers: whether they keep the process alive. */
  readonly refs: RefGroup = new RefGroup();
}
