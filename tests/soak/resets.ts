/**
 * The thread of the soak test that resets connections while the thread of the
 * server is busy, so that some are reset before the server accepts them.
 *
 * @module
 */

import { connect as connectSocket } from "node:net";
import { encode, type Message, NOFID, NOTAG } from "../../codec.ts";
import { Random } from "../codec/vectors.ts";

/** The first message to the thread: the address of the server, and the seed. */
export interface Order {
  readonly address: string;
  readonly seed: number;
}

/** Connections that are reset at once. */
const AT_ONCE = 8;

/** What a client has sent when it is reset. */
const BEGINNINGS: readonly Message[][] = [
  [],
  [{ type: "Tversion", tag: NOTAG, msize: 8192, version: "9P2000" }],
  [
    { type: "Tversion", tag: NOTAG, msize: 8192, version: "9P2000" },
    {
      ...{ type: "Tattach", tag: 1, fid: 0, afid: NOFID },
      ...{ uname: "reset", aname: "" },
    },
    { type: "Twalk", tag: 2, fid: 0, newfid: 1, wname: ["fn", "event"] },
    { type: "Topen", tag: 3, fid: 1, mode: 0 },
    { type: "Tread", tag: 4, fid: 1, offset: 0n, count: 100 },
  ],
];

/** Connects to a TCP address, sends something, whole or not, and resets the connection. */
function reset(address: string, random: Random): Promise<void> {
  const [, hostname, port] = /^tcp:\/\/(.+):(\d+)$/.exec(address) ?? [];
  const bytes = random.pick(BEGINNINGS).flatMap((m) => [...encode(m)]);
  const cut = random.below(2) ? bytes.length : random.below(bytes.length + 1);
  return new Promise((resolve, reject) => {
    const socket = connectSocket(Number(port), hostname);
    socket.on("error", reject);
    socket.on("close", () => resolve());
    socket.on("connect", () => {
      if (cut === 0) socket.resetAndDestroy();
      const sent = () => socket.resetAndDestroy();
      if (cut > 0) socket.write(Uint8Array.from(bytes.slice(0, cut)), sent);
    });
  });
}

/** The thread's end of the channel to the thread of the test. */
interface Port {
  onmessage: ((event: MessageEvent<Order | "stop">) => void) | null;
  postMessage(resets: number): void;
}

// In a thread, the global object is a port. TypeScript has no type for that
// here.
const port = globalThis as unknown as Port;
let isOver = false;

async function resetAll({ address, seed }: Order): Promise<void> {
  const random = new Random(seed);
  let resets = 0;
  for (; !isOver; resets += AT_ONCE) {
    const one = () => reset(address, random);
    await Promise.all(Array.from({ length: AT_ONCE }, one));
  }
  port.postMessage(resets);
}

port.onmessage = ({ data }) => {
  if (data === "stop") isOver = true;
  else void resetAll(data);
};
