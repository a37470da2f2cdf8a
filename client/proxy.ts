// Function files as the methods of an object. It is a plain object, made of
// the names that a directory lists: so what it has can be seen, and what it
// has not is undefined, which a Proxy could not tell.

import { QTDIR } from "../codec/constants.ts";
import { callFile } from "./call.ts";
import { readMembers } from "./directory.ts";
import { type CallerOptions, operate } from "./operation.ts";
import type { Paths } from "./paths.ts";
import { join, pathOf } from "./walk_tree.ts";

/** Names that the language asks any object for: with a `then`, awaiting it would call a file. */
const RESERVED: ReadonlySet<string> = new Set(["then", "toJSON"]);

/** Options of {@linkcode RemoteTree.proxy}, also for each call: a signal that aborts ends them all. */
export interface ProxyOptions<Api = unknown> extends CallerOptions {
  /** Names of the methods behind one file, which the path then is; by default it is a directory. */
  methods?: readonly (keyof Api & string)[] | undefined;
}

/**
 * What {@linkcode RemoteTree.proxy} makes of an interface: its methods, with
 * promises of what they return.
 */
export type RemoteApi<Api> = {
  readonly [
    // Any parameters: only functions are picked here.
    // deno-lint-ignore no-explicit-any
    Name in keyof Api & string as Api[Name] extends (...args: any[]) => unknown
      ? Name
      : never
  ]: Api[Name] extends (...args: infer Args) => infer Value
    ? (...args: Args) => Promise<Awaited<Value>>
    : never;
};

/** Makes an object whose methods call the function files of a directory, or those behind one file. */
export async function proxyOf<Api>(
  paths: Paths,
  path: string | readonly string[],
  options: ProxyOptions<Api>,
): Promise<RemoteApi<Api>> {
  const top = paths.absolute(path); // The current directory may change.
  const isFile = options.methods !== undefined;
  const names = options.methods ?? await filesIn(paths, path, options);
  const label = pathOf(path);
  // Without a prototype: no name of a file means anything, and none is there that is no file.
  const api: Record<string, unknown> = Object.create(null);
  for (const name of names) {
    if (RESERVED.has(name)) continue;
    const file = isFile ? top : join(top, name);
    const shown = isFile ? label : join(label, name);
    api[name] = (...args: unknown[]) =>
      operate(paths.session, "call", shown, options, async (signal) => {
        const fid = await paths.keep(file, signal);
        const argv = isFile ? [name, ...args] : args;
        return await callFile(paths.session, fid, { argv }, signal);
      });
  }
  return api as RemoteApi<Api>; // The caller says what the files are.
}

/** The names in a directory, without those of directories. */
async function filesIn(
  paths: Paths,
  path: string | readonly string[],
  options: CallerOptions,
): Promise<string[]> {
  const names: string[] = [];
  for await (const batch of readMembers(paths, path, "list", path, options)) {
    for (const { name, qid } of batch) {
      if (!(qid.type & QTDIR)) names.push(name);
    }
  }
  return names;
}
