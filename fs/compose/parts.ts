// The places of a file in the trees of a union, and the marks by which the
// upper tree hides names.

import { NinePError } from "../../codec.ts";
import { utf8Length } from "../../codec/wire.ts";
import type { Listing, RequestContext } from "../../server.ts";
import type { Rules, TreeDir, TreeFile } from "../tree.ts";
import { isDir, releaseAll } from "./wrap.ts";

/** Prefix of the names that the union uses itself. */
export const OWN: string = ".wh.";

/** Most bytes of a name, with the mark before it. */
export const MAX_NAME: number = 255;

/** A file in one of the trees. */
export interface Part {
  /** Number of the tree: 0 for the upper one. */
  readonly layer: number;
  readonly file: TreeFile;
  /** The rules that stand above the file in its tree. */
  readonly rules: Rules;
}

/**
 * Returns true when two parts are the same file. Some trees make a new object
 * for each lookup, so the qid paths are compared.
 */
export function isSame(a: Part, b: Part): boolean {
  if (a.layer !== b.layer) return false;
  return a.file === b.file || a.file.qid.path === b.file.qid.path;
}

/** Releases the files of parts. */
export function releaseParts(parts: readonly Part[]): Promise<void> {
  return releaseAll(parts.map(({ file }) => file));
}

/** Returns true when a directory hides a name of the trees below it. */
export async function hasMark(
  dir: TreeDir,
  name: string,
  context: RequestContext,
): Promise<boolean> {
  const mark = OWN + name;
  if (utf8Length(mark) > MAX_NAME) return false;
  const file = await dir.lookup(mark, context);
  await file?.release?.();
  return file !== undefined;
}

/**
 * Returns the first names of a directory that are marks or unfinished copies.
 */
export async function marksOf(
  dir: TreeDir,
  most: number,
  context: RequestContext,
): Promise<string[]> {
  const marks: string[] = [];
  const listing: Listing = await dir.list?.({ cookie: 0 }, context) ?? [];
  for await (const { stat: { name } } of listing) {
    if (name.startsWith(OWN)) marks.push(name);
    if (marks.length === most) break;
  }
  return marks;
}

/** Returns true when one of the directories has a name, or hides it. */
export async function isCovered(
  dirs: readonly { dir: TreeDir }[],
  name: string,
  context: RequestContext,
): Promise<boolean> {
  for (const { dir } of dirs) {
    const file = await dir.lookup(name, context);
    await file?.release?.();
    if (file !== undefined || await hasMark(dir, name, context)) return true;
  }
  return false;
}

/** Throws unless a rename may replace a file by another file. */
export async function checkReplaced(
  node: TreeFile,
  taken: TreeFile,
  context: RequestContext,
): Promise<void> {
  if (isDir(taken) !== isDir(node)) {
    throw new NinePError(isDir(taken) ? "Is a directory" : "not a directory");
  }
  if (!isDir(taken)) return;
  for await (const _ of await taken.list?.({ cookie: 0 }, context) ?? []) {
    throw new NinePError("directory is not empty");
  }
}

/** Throws for a name that the union uses itself. */
export function checkName(name: string): void {
  if (name.startsWith(OWN)) throw new NinePError("illegal name");
}

/** Returns the error for a file that was removed. */
export function removedError(): NinePError {
  return new NinePError("file has been removed");
}

/** Returns the error for a move or link that the trees cannot make. */
export function crossError(): NinePError {
  return new NinePError("Invalid cross-device link");
}
