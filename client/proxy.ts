// Makes an object whose methods call function files. The object is a plain
// object with one method for each known name, not a JavaScript Proxy. So its
// methods can be listed, and a missing method is undefined. A Proxy does not
// know the names and can do neither.

import { callFile } from "./call.ts";
import { gatherMembers } from "./trees/directory.ts";
import { isDirectory } from "./file_stat.ts";
import {
  type CallerOptions,
  checkMost,
  explained,
  join,
  labelOf,
  operate,
  pathOf,
} from "./operation.ts";
import type { TreePaths } from "./trees/tree_paths.ts";

/**
 * Default of `maxEntries`. The limit is low because each method takes memory as
 * long as the object lives.
 */
const METHODS_MAX = 10_000;
/**
 * Names that JavaScript looks up on any object. If the object had a method
 * `then`, `await` on the object would call a function file.
 */
const RESERVED: ReadonlySet<string> = new Set(["then", "toJSON"]);

/**
 * Options of {@linkcode Client.proxy}. The signal, the timeout and `maxLength`
 * also apply to each call of a method. An abort of the signal ends all calls.
 * {@linkcode RemoteMethod.with} sets options of a single call.
 */
export interface ProxyOptions<Api = unknown> extends CallerOptions {
  /**
   * Names of the methods of one function file; each name is the first argument
   * of its calls. With this option, the path is the path of this file. By
   * default, the path is the path of a directory.
   */
  methods?: readonly (keyof Api & string)[] | undefined;
  /**
   * Most members of the directory, 0 to 2^53 - 1, or Infinity; 10,000 by
   * default. If the directory has more members, the call fails with a
   * RangeError.
   */
  maxEntries?: number | undefined;
  /** Most bytes of a value; see {@linkcode CallOptions.maxLength}. */
  maxLength?: number | undefined;
}

/**
 * A method of an object from {@linkcode Client.proxy}. It calls a function
 * file.
 */
export interface RemoteMethod<Args extends unknown[], Value> {
  /** Calls the function. */
  (...args: Args): Promise<Value>;
  /**
   * Returns the method with further options for its calls. The given signal and
   * the signal of the proxy both end a call. The given timeout replaces the
   * timeout of the proxy.
   *
   * @param options Signal and timeout.
   *
   * @example
   * ```ts
   * import { assertEquals } from "@std/assert";
   * import { connect, MemoryFs, pair, serve } from "@ninep/ninep";
   *
   * const fs = new MemoryFs();
   * fs.register("add", (a: number, b: number) => a + b, { params: ["a", "b"] });
   * const [near, far] = pair();
   * void serve(far, fs);
   * await using client = await connect(near);
   *
   * const math = await client.proxy<{ add(a: number, b: number): number }>("/");
   * assertEquals(await math.add.with({ timeout: 5000 })(17, 25), 42);
   * ```
   */
  with(options: CallerOptions): (...args: Args) => Promise<Value>;
}

/**
 * The type of a value that a remote function returns, after the value was sent
 * as JSON. Undefined arrives as null, and members that are undefined are left
 * out. If JSON cannot express the value, such as a Date or a Map, the call
 * fails, and the type is `never`.
 *
 * @typeParam Value Type of the function's result.
 * @typeParam Nothing Type that replaces undefined.
 */
export type RemoteValue<Value, Nothing = null> =
  // The types `any` and `unknown` say nothing about the value.
  unknown extends Value ? Value
    : Value extends string | number | boolean | null ? Value
    : Value extends void ? Nothing
    : Value extends // Any function.
    // deno-lint-ignore no-explicit-any
    | ((...args: any[]) => unknown)
    | Date
    | RegExp
    | Error
    | ReadonlyMap<unknown, unknown>
    | ReadonlySet<unknown>
    | ArrayBuffer
    | ArrayBufferView
    | PromiseLike<unknown> ? never
    : Value extends object
      ? { [Name in keyof Value]: RemoteValue<Value[Name], undefined> }
    : never;

/**
 * The type of an object from {@linkcode Client.proxy}: the methods of an
 * interface. Each method returns a promise of the value that arrives; see
 * {@linkcode RemoteValue}. The type parameters of a method are lost. Of several
 * overloads, only the last one remains.
 */
export type RemoteApi<Api> = {
  readonly [
    // Any parameters: only functions are picked here.
    // deno-lint-ignore no-explicit-any
    Name in keyof Api & string as Api[Name] extends (...args: any[]) => unknown
      ? Name
      : never
  ]: Api[Name] extends (...args: infer Args) => infer Value
    ? RemoteMethod<Args, RemoteValue<Awaited<Value>>>
    : never;
};

/**
 * Makes an object whose methods call the function files of a directory, or the
 * functions of one function file.
 *
 * @param paths Returns the paths of the present session. `Client.version()`
 *   replaces them.
 */
export async function proxyOf<Api>(
  paths: () => TreePaths,
  path: string | readonly string[],
  options: ProxyOptions<Api>,
): Promise<RemoteApi<Api>> {
  const top = paths().absolute(path); // The current directory may change.
  const label = pathOf(path);
  const { methods, maxLength } = options;
  for (const name of methods ?? []) {
    if (!RESERVED.has(name)) continue;
    throw new TypeError(
      `Cannot make a proxy of "${label}": "${name}" cannot be a method of it`,
    );
  }
  const isFile = methods !== undefined;
  const list = () => filesIn(paths(), path, options);
  const names = methods ??
    await explained("list", path, list, options.signal);
  // Without a prototype, the object has no inherited members such as
  // `toString`, so each member is a method of a file.
  const api: Record<string, unknown> = Object.create(null);
  for (const name of names) {
    if (RESERVED.has(name)) continue;
    const file = isFile ? top : join(top, name);
    const shown = isFile ? label : join(label, name);
    const call = (bounds: CallerOptions, args: unknown[]) => {
      const argv = isFile ? [name, ...args] : args;
      const present = paths();
      const { session } = present;
      return operate(
        session,
        "call",
        shown,
        bounds,
        (signal) =>
          present.withCachedFid(
            file,
            signal,
            (fid) =>
              callFile(
                session,
                fid,
                { argv, maxLength },
                signal,
                labelOf(shown),
              ),
          ),
      );
    };
    const method = (...args: unknown[]) => call(options, args);
    method.with = (own: CallerOptions) => {
      const both = joined(options, own);
      return (...args: unknown[]) => call(both, args);
    };
    api[name] = method;
  }
  return api as RemoteApi<Api>; // The caller says what the files are.
}

/** Joins the options of all calls with those of one call. */
function joined(all: CallerOptions, own: CallerOptions): CallerOptions {
  const signals = [all.signal, own.signal].filter((signal) =>
    signal !== undefined
  );
  const signal = signals.length > 1 ? AbortSignal.any(signals) : signals[0];
  return { signal, timeout: own.timeout ?? all.timeout };
}

/** Returns the names of the plain files in a directory. */
function filesIn(
  paths: TreePaths,
  path: string | readonly string[],
  options: Omit<ProxyOptions, "methods">,
): Promise<string[]> {
  const { maxEntries = METHODS_MAX } = options;
  checkMost(`list ${labelOf(path)}`, "maxEntries", maxEntries);
  return gatherMembers(
    paths,
    path,
    { ...options, maxEntries, verb: "list", label: path },
    ({ name, qid }) => isDirectory(qid) ? undefined : name,
  );
}
