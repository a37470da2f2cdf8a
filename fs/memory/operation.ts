// Operations of a program on a tree by path, and their errors.

import { NinePError } from "../../codec.ts";

/** The names of a path, without those that lead nowhere. */
export function split(path: string): string[] {
  return path.split("/").filter((name) => name !== "" && name !== ".");
}

/** Runs a function, and names the path in its error. */
export function attempt(operation: string, path: string, fn: () => void): void {
  try {
    fn();
  } catch (error) {
    if (!(error instanceof NinePError)) throw error;
    throw failed(operation, path, error.ename);
  }
}

/** The error of an operation of the program, with the path. */
export function failed(
  operation: string,
  path: string,
  ename: string,
): NinePError {
  return new NinePError(ename, {
    message: `Cannot ${operation} "${path}": ${ename}`,
  });
}
