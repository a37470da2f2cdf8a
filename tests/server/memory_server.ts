// A server in a process of its own. Its clients may make it hold as much as its
// limits allow, and the file `rss` has the memory of the process. See
// server/memory_test.ts.

import process from "node:process";
import { QTDIR } from "../../codec.ts";
import { type Fid, type FidNode, type Handler, listen } from "../../server.ts";

/** A file, whose name decides what it does. */
class File implements FidNode {
  readonly qid: { type: number; vers: number; path: bigint };
  readonly name: string;

  constructor(name: string, path: number) {
    this.qid = { type: path === 0 ? QTDIR : 0, vers: 0, path: BigInt(path) };
    this.name = name;
  }
}

const files = ["", "late", "waiting", "held", "rss"].map((name, path) =>
  new File(name, path)
);
/** The memory of open files named `held`. */
const held = new Map<Fid<File>, { bytes: Uint8Array; giveBack: () => void }>();
const HELD = 4 * 1024 * 1024;
/**
 * The answer to every read of `late`. It is shared, because the runtime
 * collects the garbage of handlers at any time.
 */
const content = new Uint8Array(1024 * 1024).fill(1);

const handler: Handler<File> = {
  attach: () => files[0],
  walk: (_, name) => files.find((file) => file.name === name),
  open(fid, _request, { memory }) {
    if (fid.node.name !== "held" || !memory.take(HELD)) return;
    const giveBack = () => memory.give(HELD);
    held.set(fid, { bytes: new Uint8Array(HELD).fill(1), giveBack });
  },
  clunk(fid) {
    held.get(fid)?.giveBack();
    held.delete(fid);
  },
  async read({ node }, { count }) {
    if (node.name === "rss") {
      return new TextEncoder().encode(`${process.memoryUsage().rss}`);
    }
    await null;
    return content.subarray(0, count);
  },
  write: (_fid, _request, { signal }) =>
    new Promise<void>((_, reject) => {
      signal.addEventListener("abort", () => reject(signal.reason));
    }),
  stat: () => {
    throw new Error("no stat");
  },
};

const maxMemory = Number(process.argv[2]);
const server = await listen("tcp://127.0.0.1:0", handler, {
  maxMemory,
  onError: () => {},
});
console.log(server.addr);
