// The counts at the end of a run.

import type { CaseResult } from "./case.ts";

/**
 * Counts results by their status. `JSON.stringify()` gives an object with all
 * five counts; `String()` gives a line: `121 passed, 0 failed, 3 skipped, 2
 * advice`.
 */
export class Count {
  /** Cases that were `ok`. */
  passed: number = 0;
  /** Cases that failed. */
  failed: number = 0;
  /** Cases that gave advice. */
  advice: number = 0;
  /** Cases that were skipped. */
  skipped: number = 0;
  /** Cases that were not run, because the server had ended. */
  notRun: number = 0;

  /** Counts a result. */
  add({ status }: CaseResult): void {
    switch (status) {
      case "ok":
        this.passed++;
        break;
      case "fail":
        this.failed++;
        break;
      case "advice":
        this.advice++;
        break;
      case "skip":
        this.skipped++;
        break;
      case "not run":
        this.notRun++;
        break;
      default:
        status satisfies never;
    }
  }

  /**
   * Formats the counts in one line. Zero counts of advice and of cases not run
   * are left out.
   */
  toString(): string {
    const { passed, failed, skipped, advice, notRun } = this;
    const rest = [
      ...(advice > 0 ? [`${advice} advice`] : []),
      ...(notRun > 0 ? [`${notRun} not run`] : []),
    ];
    const counts = `${passed} passed, ${failed} failed, ${skipped} skipped`;
    return [counts, ...rest].join(", ");
  }
}
