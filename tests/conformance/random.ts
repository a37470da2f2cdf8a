// Random messages, made from a seed: well formed, mutated, and noise.

import {
  decode,
  DMAPPEND,
  DMDIR,
  DMEXCL,
  encode,
  ORCLOSE,
  OTRUNC,
  type Stat,
} from "../../codec.ts";
import { type Request, T } from "./requests.ts";
import type { Session } from "./session.ts";
import { END, tagged } from "./wire.ts";

/**
 * Fid of the directory that the random messages work in. They use further fids
 * from 20 on.
 */
export const ARENA = 19;
/** Messages of a round. */
const MESSAGES = 60;
/** Tag that no random message has. */
const LAST_TAG = 0xff00;
const TYPE_AT = 4;
const TVERSION = 100;
const TATTACH = 104;

/** A generator of numbers; equal seeds give equal numbers. */
export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  /** Returns a whole number from 0 to `limit` - 1. */
  below(limit: number): number {
    // Mulberry32.
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let t = this.#state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) % limit;
  }

  /** Returns one of the values. */
  pick<T>(...values: readonly T[]): T {
    return values[this.below(values.length)];
  }

  #fid(): number {
    return 20 + this.below(6);
  }

  /**
   * Sends a round of random messages. The server may send replies that decode,
   * or end the connection; anything else is a Failure.
   */
  async sendRound(session: Session): Promise<void> {
    for (let fid = 20; fid < 26; fid++) session.start(T.walk(ARENA, fid));
    for (let i = 0; i < MESSAGES; i++) session.raw(this.#frame());
    if (this.below(3) === 0) session.raw(this.#end());
    session.start(T.flush(0xfff7), LAST_TAG);
    while (true) {
      const event = await session.next("an answer, or the end");
      if (event === END || event.tag === LAST_TAG) return;
    }
  }

  #frame(): Uint8Array {
    const frame = encode(tagged(this.#request(), this.below(8)));
    if (this.below(3) !== 0) return frame;
    const mutated = this.below(4) === 0 ? this.#noise(frame) : frame;
    for (let i = this.below(3); i >= 0 && mutated.length > TYPE_AT; i--) {
      const at = TYPE_AT + this.below(mutated.length - TYPE_AT);
      mutated[at] = this.pick(0, 1, 0x7f, 0x80, 0xff, this.below(256));
    }
    // A Tattach would leave the arena; a Tversion would end the round early.
    if ([TVERSION, TATTACH].includes(mutated[TYPE_AT])) mutated[TYPE_AT] = 1;
    return this.#leadsOut(mutated) ? this.#noise(frame) : mutated;
  }

  /** True when a mutation made a walk to the parent. */
  #leadsOut(frame: Uint8Array): boolean {
    try {
      const message = decode(frame);
      return message.type === "Twalk" && message.wname.includes("..");
    } catch {
      return false;
    }
  }

  /** Makes a frame of the right size with an unknown type and random bytes. */
  #noise(frame: Uint8Array): Uint8Array {
    const noise = frame.map(() => this.below(256));
    noise.set(frame.subarray(0, TYPE_AT));
    noise[TYPE_AT] = 200 + this.below(50);
    return noise;
  }

  /** Makes bytes that end the connection: an illegal size. */
  #end(): Uint8Array {
    return this.pick(
      Uint8Array.of(this.below(7), 0, 0, 0, 120, 1, 0),
      Uint8Array.of(255, 255, 255, 255, 120, 1, 0),
    );
  }

  #name(): string {
    return this.pick("a", "b", "é", ".", "", "x/y", "n".repeat(256));
  }

  #offset(): bigint {
    return this.pick(
      0n,
      1n,
      5n,
      1n << 20n,
      2n ** 53n,
      2n ** 63n,
      2n ** 64n - 1n,
    );
  }

  #mode(): number {
    return this.below(4) | this.pick(0, 0, OTRUNC, ORCLOSE, this.below(256));
  }

  #request(): Request {
    const fid = this.#fid();
    // Requests that make fids are more frequent than those that end fids.
    switch (this.below(20)) {
      case 0:
      case 1:
      case 2:
        return T.walk(ARENA, fid);
      case 3:
      case 4:
        return T.walk(ARENA, fid, this.pick("a", "b", this.#name()));
      case 5:
        return T.walk(fid, this.#fid(), this.#name(), this.#name());
      case 6:
      case 7:
        return T.open(fid, this.#mode());
      case 8:
      case 9: {
        const bits = this.pick(0, 0, DMDIR, DMAPPEND, DMEXCL, 0x1800000);
        return T.create(fid, this.#name(), bits + 0o777, this.#mode());
      }
      case 10:
      case 11:
        return T.read(fid, this.#offset(), this.pick(0, 1, 100, 0xffffffff));
      case 12:
      case 13:
        // Only small offsets: a server may have no limit, and may store the
        // zeros.
        return T.write(fid, "x".repeat(this.below(200)), this.below(10_000));
      case 14:
        return this.pick<Request>(T.clunk(fid), T.remove(fid));
      case 15:
      case 16:
        return T.stat(fid);
      case 17:
      case 18:
        return T.wstat(
          fid,
          this.pick<Partial<Stat>>(
            {},
            { name: this.#name() },
            { length: BigInt(this.below(10_000)) },
            { mode: 0o777 },
          ),
        );
      default:
        return T.flush(this.below(8));
    }
  }
}
