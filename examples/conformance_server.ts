/**
 * Serves a tree with every file that a case of the conformance kit needs. On
 * this tree, `conformance.ts ADDRESS --strict` passes all cases.
 *
 *     deno run --allow-net examples/conformance_server.ts [ADDRESS]
 *     bun examples/conformance_server.ts [ADDRESS]
 *
 * ADDRESS is tcp://127.0.0.1:5640 by default; port 0 takes a free one.
 *
 * @module
 */

import process from "node:process";
import * as ninep from "../mod.ts";

/** Makes a tree that every user may write in, with the files of the kit's `Fixtures`. */
export function makeTree(options: ninep.MemoryFsOptions = {}): ninep.MemoryFs {
  const fs = new ninep.MemoryFs({}, { mode: 0o777, ...options });
  const callOnRead = true;
  const failing = (error: Error) => () => Promise.reject(error);
  fs.register("fail", failing(new RangeError("bad value\nand more of it")));
  fs.register("exit", failing(new ninep.Plan9Exit("good bye")));
  fs.define("broken", { read: failing(new TypeError("this file is broken")) });

  let calls = 0;
  fs.register("serial", () => ++calls);
  fs.register("ticker", () => ++calls, { callOnRead });
  fs.register("add", (a, b) => a + b, { params: ["a", "b"] });
  const measure = (kwarg: Record<string, Uint8Array>) =>
    Object.fromEntries(Object.entries(kwarg).map(([k, v]) => [k, v.length]));
  fs.register("measure", measure);

  const blocked = new Set<(value: string) => void>();
  let cancelled = 0;
  const block = ({ signal }: ninep.CallContext) => {
    const { promise, resolve, reject } = Promise.withResolvers<string>();
    blocked.add(resolve);
    signal.addEventListener("abort", () => {
      if (blocked.delete(resolve)) cancelled++;
      reject(signal.reason);
    });
    return promise;
  };
  fs.register("block", block, { callOnRead, context: true });
  fs.register("release", () => {
    for (const resolve of blocked) resolve("released");
    blocked.clear();
  }, { callOnRead });
  fs.register("cancelled", () => cancelled, { callOnRead });
  return fs;
}

if (import.meta.main) {
  const [address = "tcp://127.0.0.1:5640"] = process.argv.slice(2);
  const onError = (e: unknown) => console.error(ninep.printable(String(e)));
  const server = await ninep.listen(address, makeTree(), { onError })
    .catch(({ message }) => onError(message));
  if (server === undefined) process.exit(1);
  console.log(`listening on ${server.addr}`);
}
