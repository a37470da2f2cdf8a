// A line of the checklist, as the files of the topics write it.

import type { Trial } from "./trial.ts";

/** A sentence about servers, and how to see whether it holds. */
export interface Line {
  /** Number, `S1` to `S126`. */
  readonly id: string;
  /** The sentence. */
  readonly title: string;
  /** Page of the manual that it stands on. */
  readonly manual: string;
  /** True when the manual does not demand it: a failure is advice, unless strict. */
  readonly isAdvice?: boolean;
  /**
   * Sees whether it holds: throws a Failure when not, a Skip when the server
   * has no such feature.
   */
  check(trial: Trial): Promise<void>;
}
