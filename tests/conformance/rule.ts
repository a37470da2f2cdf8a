// A rule of the checklist, as the files of the topics define it.

import type { Trial } from "./trial.ts";

/** A rule for servers, and the test for it. */
export interface Rule {
  /** Number, `S1` to `S126`. */
  readonly id: string;
  /** The rule. */
  readonly title: string;
  /** Page of the manual that has the rule. */
  readonly manual: string;
  /**
   * True when the manual only recommends the rule: a failure is advice, but not
   * in a strict run.
   */
  readonly isAdvice?: boolean;
  /**
   * Tests the rule: throws a Failure when the server breaks the rule, a Skip
   * when the server lacks the feature.
   */
  check(trial: Trial): Promise<void>;
}
