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
  /** The rules above it in that tree. */
  readonly rules: Rules;
}

/** Tells whether two parts are one file: some trees make an object for each lookup. */
export function isSame(a: Part, b: Part): boolean {
  if (a.layer !== b.layer) return false;
  return a.file === b.file || a.file.qid.path === b.file.qid.path;
}

export function releaseParts(parts: readonly Part[]): Promise<void> {
  return releaseAll(parts.map(({ file }) => file));
}

/** Tells whether a directory says that the trees below it do not have a name. */
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

/** The first names of a directory that are marks, or copies that were not finished. */
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

/** Tells whether one of the directories has a name, or says that it is removed. */
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

/** Throws unless a rename may put a file in the place of another one. */
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

export function checkName(name: string): void {
  if (name.startsWith(OWN)) throw new NinePError("illegal name");
}

export function removedError(): NinePError {
  return new NinePError("file has been removed");
}

export function crossError(): NinePError {
  return new NinePError("Invalid cross-device link");
}
