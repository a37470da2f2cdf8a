// Makes the lines of a file from its chunks.

import type { CallerOptions } from "../operation.ts";

/** Default of `maxLength`. */
const LINE_MAX = 16 * 1024 * 1024;

/** Options of {@linkcode RemoteFile.lines}. */
export interface LinesOptions extends CallerOptions {
  /**
   * Most characters of a line, counted in UTF-16 without the end of the line;
   * 16 Mi by default.
   */
  maxLength?: number | undefined;
}

/**
 * Makes lines of chunks of UTF-8. The lines do not depend on where a chunk
 * ends.
 *
 * @param what The operation, for errors.
 * @throws {RangeError} A line is too long.
 */
export async function* linesOf(
  chunks: AsyncIterable<Uint8Array>,
  what: string,
  options: LinesOptions,
): AsyncGenerator<string, void, void> {
  const { maxLength = LINE_MAX, signal } = options;
  const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
  let line = "";
  /**
   * @param held Characters of a line. The last of them may belong to the end of
   * the line.
   */
  const check = (held: number, last: string) => {
    const length = last.endsWith("\r") ? held - 1 : held;
    if (length <= maxLength) return;
    throw new RangeError(
      `Cannot ${what}: a line has more than ${maxLength} characters`,
    );
  };
  for await (const chunk of chunks) {
    const parts = decoder.decode(chunk, { stream: true }).split("\n");
    const rest = parts.pop() ?? "";
    for (const part of parts) {
      const whole = line + part;
      const end = whole.endsWith("\r") ? whole.slice(0, -1) : whole;
      check(end.length, "");
      line = "";
      signal?.throwIfAborted(); // The chunk may have many more lines.
      yield end;
    }
    // The check comes before the parts are joined, so that the memory stays
    // within the limit.
    check(line.length + rest.length, rest === "" ? line : rest);
    line += rest;
  }
  line += decoder.decode();
  check(line.length, "");
  if (line !== "") yield line;
}
