// A load generator that sends 9P messages without the client of the library. An
// operation is one or more requests; a fixed number of operations is in flight.
// The type, tag and size of each reply are checked.

import { encode, NOFID, type Tmessage } from "../codec.ts";
import { type Connection, dial } from "../transport.ts";
import { openChannel } from "../transport/channel.ts";
import type { Channel } from "../transport/channel.ts";
import { Intake } from "../transport/intake.ts";

export const MSIZE = 65536;

/** The messages that start a session, with the root as fid 0. */
export const GREETING: readonly Tmessage[] = [
  { type: "Tversion", tag: 0xffff, msize: MSIZE, version: "9P2000" },
  { type: "Tattach", tag: 1, fid: 0, afid: NOFID, uname: "none", aname: "" },
];

/** One request of an operation. */
export interface Step {
  message: Tmessage;
  /** Expected size of the reply in bytes; undefined allows any size. */
  size?: number;
  /**
   * Bytes that are added to the offset after each operation. At `end` the
   * offset starts again at 0.
   */
  stride?: number;
  end?: number;
}

/**
 * Returns the requests of the operations that one slot of the window makes.
 */
export type Scenario = (slot: number) => Step[];

/** The durations of some operations. */
export interface Run {
  /** Operations a second. */
  rate: number;
  /** Median duration of an operation, in microseconds. */
  p50: number;
  /** 99th percentile of the duration of an operation, in microseconds. */
  p99: number;
}

interface Slot {
  steps: { frame: Uint8Array; view: DataView; step: Step }[];
  at: number;
  start: number;
}

/** One connection of the generator. */
export class Load {
  readonly #channel: Channel;
  readonly #intake: Intake;
  // One buffer is filled while the other one is being written.
  #out = new Uint8Array(4 * 1024 * 1024);
  #spare = new Uint8Array(4 * 1024 * 1024);

  constructor(connection: Connection) {
    this.#channel = openChannel(connection);
    this.#intake = new Intake(this.#channel, 2 * MSIZE);
  }

  /** Connects, and begins a session whose root is fid 0. */
  static async dial(address: string): Promise<Load> {
    const load = new Load(await dial(address));
    for (const message of GREETING) await load.ask(message);
    return load;
  }

  /** Sends one request, and returns the size of its reply. */
  async ask(message: Tmessage): Promise<number> {
    let size = 0;
    await this.run(() => [{ message }], 1, 1, (reply) => size = reply);
    return size;
  }

  /** Runs `count` operations, `window` at a time. */
  async run(
    scenario: Scenario,
    window: number,
    count: number,
    onReply?: (size: number) => void,
  ): Promise<Run> {
    const slots = Array.from({ length: window }, (_, i) => slotOf(scenario, i));
    const took = new Float64Array(count);
    const intake = this.#intake;
    const { splitter } = intake;
    let started = 0;
    let done = 0;
    let length = 0;
    const send = (slot: Slot) => {
      const { frame, view, step } = slot.steps[slot.at];
      if (step.stride !== undefined) {
        const at = (started * step.stride) % step.end!;
        view.setUint32(11, at, true);
      }
      this.#out.set(frame, length);
      length += frame.length;
    };
    const begin = (slot: Slot) => {
      if (started === count) return;
      slot.at = 0;
      slot.start = performance.now();
      send(slot);
      started++;
    };
    const beginning = performance.now();
    slots.forEach(begin);
    let written: Promise<void> | undefined;
    while (done < count) {
      await written;
      written = undefined;
      if (length > 0) {
        written = this.#channel.write(this.#out.subarray(0, length));
        [this.#out, this.#spare] = [this.#spare, this.#out];
        length = 0;
      }
      const chunk = await intake.read();
      if (chunk === null) throw new Error("the server hung up");
      intake.push(chunk);
      while (splitter.advance()) {
        const { reader } = splitter;
        const size = reader.end - reader.at;
        const tag = reader.view.getUint16(reader.at + 5, true);
        const slot = slots[tag === 0xffff ? 0 : tag - 1];
        const { frame, step } = slot.steps[slot.at];
        if (
          reader.bytes[reader.at + 4] !== frame[4] + 1 ||
          (step.size !== undefined && step.size !== size)
        ) {
          const text = new TextDecoder().decode(
            reader.bytes.subarray(reader.at + 7, reader.end).slice(0, 100),
          );
          throw new Error(`${step.message.type}: ${size} bytes, ${text}`);
        }
        onReply?.(size);
        if (++slot.at < slot.steps.length) {
          send(slot);
        } else {
          took[done++] = performance.now() - slot.start;
          begin(slot);
        }
      }
    }
    const seconds = (performance.now() - beginning) / 1e3;
    took.sort();
    return {
      rate: count / seconds,
      p50: took[count >> 1] * 1e3,
      p99: took[Math.floor(count * 0.99)] * 1e3,
    };
  }

  close(): void {
    this.#channel.close();
  }
}

function slotOf(scenario: Scenario, slot: number): Slot {
  const steps = scenario(slot).map((step) => {
    const { message } = step;
    const tag = message.type === "Tversion" ? 0xffff : slot + 1;
    const frame = encode({ ...message, tag }).slice();
    return { frame, view: new DataView(frame.buffer), step };
  });
  return { steps, at: 0, start: 0 };
}
