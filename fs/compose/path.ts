// Paths that a program names, when it puts trees together.

import { isName } from "../../codec.ts";

/**
 * The names of a path, from the root on.
 *
 * @param path Path, with or without a slash at its start.
 * @param operation What the path is for, as in `mount`.
 * @throws {TypeError} A name cannot be that of a file, such as `..`.
 */
export function namesOf(path: string, operation: string): string[] {
  const names = path.split("/").filter((name) => name !== "");
  for (const name of names) {
    if (isName(name)) continue;
    throw new TypeError(`Cannot ${operation} "${path}": "${name}" is no name`);
  }
  return names;
}
