// Paths that a program gives to compositions.

import { isName } from "../../codec.ts";

/**
 * Returns the names of a path, from the root on.
 *
 * @param path Path, with or without a slash at its start.
 * @param operation The operation that needs the path, such as `mount`, for the
 *   error text.
 * @throws {TypeError} When a file cannot have one of the names, such as `..`.
 */
export function namesOf(path: string, operation: string): string[] {
  const names = path.split("/").filter((name) => name !== "");
  for (const name of names) {
    if (isName(name)) continue;
    throw new TypeError(`Cannot ${operation} "${path}": "${name}" is no name`);
  }
  return names;
}
