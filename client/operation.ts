// What every operation of the client has in common: how a file is named, that
// an abort is told at once, and that an error says what was tried.

import { FunctionError } from "../codec/call.ts";
import { NinePError } from "../codec/errors.ts";

/**
 * A file: its path from the root of the tree, or a fid. A path is a text with
 * slashes or the list of its elements; empty ones and `.` count for nothing,
 * `..` is the parent.
 */
export type FileRef = string | readonly string[] | number;

/** Options of every operation. */
export interface CallerOptions {
  /**
   * Aborts the operation: its promise rejects at once with the signal's
   * reason, the server is sent a Tflush. See `flush(9P)`.
   */
  signal?: AbortSignal | undefined;
}

/** Elements of a path. */
export function namesOf(path: string | readonly string[]): string[] {
  const names = typeof path === "string" ? path.split("/") : path;
  return names.filter((name) => name !== "" && name !== ".");
}

/** A file's name for messages. */
export function labelOf(file: FileRef): string {
  if (typeof file === "number") return `fid ${file}`;
  return `"${typeof file === "string" ? file : file.join("/")}"`;
}

/** Recognizes the server's error with a code. */
export function hasCode(error: unknown, code: string): boolean {
  return error instanceof NinePError && error.code === code;
}

/**
 * Runs an operation on a file for a caller.
 *
 * The work itself goes on after an abort until it knows what the server did,
 * so that it can clean up; `undo` is for a result that comes too late.
 */
export function operate<T>(
  verb: string,
  file: FileRef,
  signal: AbortSignal | undefined,
  work: () => Promise<T>,
  undo?: (result: T) => void,
): Promise<T> {
  return abortable(signal, () => explained(verb, file, work), undo);
}

/** Runs work whose promise rejects at once when the signal aborts. */
export function abortable<T>(
  signal: AbortSignal | undefined,
  work: () => Promise<T>,
  undo?: (result: T) => void,
): Promise<T> {
  if (!signal) return work();
  if (signal.aborted) return Promise.reject(signal.reason);
  return new Promise((resolve, reject) => {
    const onAbort = () => reject(signal.reason);
    signal.addEventListener("abort", onAbort, { once: true });
    const done = () => signal.removeEventListener("abort", onAbort);
    work().then((result) => {
      done();
      if (signal.aborted) undo?.(result);
      resolve(result);
    }, (error) => {
      done();
      reject(error);
    });
  });
}

/** Puts what was tried in front of the server's errors; those of functions are left as they are. */
export async function explained<T>(
  verb: string,
  file: FileRef,
  work: () => Promise<T>,
): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof NinePError) || error instanceof FunctionError) {
      throw error;
    }
    const message = `Cannot ${verb} ${labelOf(file)}: ${error.message}`;
    const { ename, code, request } = error;
    throw new NinePError(ename, { code, message, request, cause: error });
  }
}
