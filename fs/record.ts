// Call records: one argument text and what becomes of it. A function file
// keeps them for its fids, and for itself.

import { FunctionError, Plan9Exit } from "../codec/call.ts";
import type { Fid, RequestContext } from "../server.ts";
import { NOTHING } from "./data.ts";
import type { TreeNode } from "./node.ts";
import type { Quota } from "./quota.ts";

/** A call that several reads may wait for. */
export interface SharedCall {
  readonly promise: Promise<Uint8Array>;
  readonly abort: AbortController;
  waiting: number;
}

/** One argument text and what becomes of it. It is called once at most, whoever reads it. */
export class CallRecord {
  /** Fid of who wrote the text: it is called in that name. */
  readonly fid: Fid<TreeNode>;
  /** The end of the connection that the fid is of. */
  readonly peer: string;
  /** The call that is under way. */
  call: SharedCall | undefined = undefined;
  /** Whether the call is over, or at least the text complete. */
  done = false;
  readonly #quota: Quota;
  #text: Uint8Array;
  /** What the text is the start of, so that it is not copied with each piece that is added. */
  #room: Uint8Array = NOTHING;
  #value: Uint8Array | undefined = undefined;
  #error: unknown = undefined;
  /** Who keeps it: fids, once for each of two reasons, and the file. */
  #holders = 0;

  constructor(
    { fid, peer }: Pick<RequestContext<TreeNode>, "fid" | "peer">,
    text: Uint8Array,
    quota: Quota,
  ) {
    this.fid = fid;
    this.peer = peer;
    this.#quota = quota;
    this.#text = text;
  }

  /** Arguments, until they are used. */
  get text(): Uint8Array {
    return this.#text;
  }
  set text(text: Uint8Array) {
    this.#count(text.length - this.#text.length);
    this.#text = text;
    this.#room = NOTHING;
  }

  /** Adds to the arguments. */
  append(data: Uint8Array): void {
    const { length } = this.#text;
    const end = length + data.length;
    this.#count(data.length);
    if (end > this.#room.length) {
      this.#room = new Uint8Array(Math.max(end, 2 * length));
      this.#room.set(this.#text);
    }
    this.#room.set(data, length);
    this.#text = this.#room.subarray(0, end);
  }

  /** Value of the call. */
  get value(): Uint8Array | undefined {
    return this.#value;
  }

  /** What the call threw. */
  get error(): unknown {
    return this.#error;
  }

  /** The call has a value. */
  succeed(value: Uint8Array): void {
    this.#count(value.length - this.#text.length);
    this.#text = NOTHING;
    this.#value = value;
    this.#end();
  }

  /** The call failed. */
  fail(error: unknown): void {
    this.text = NOTHING;
    this.#error = forOthers(error);
    this.#end();
  }

  #end(): void {
    this.done = true;
    this.call = undefined;
  }

  /** Keeps it: its bytes count. */
  hold(): this {
    if (this.#holders === 0) this.#quota.take(this.#size);
    this.#holders++;
    return this;
  }

  /** Ends what hold() began. */
  drop(): void {
    this.#holders--;
    if (this.#holders === 0) this.#quota.take(-this.#size);
  }

  get #size(): number {
    return this.#text.length + (this.#value?.length ?? 0);
  }

  #count(bytes: number): void {
    if (this.#holders > 0) this.#quota.take(bytes);
  }
}

/** An error as it is for those whose request did not make the call: the exit error ends only its caller. */
export function forOthers(error: unknown): unknown {
  return error instanceof Plan9Exit ? new FunctionError(error) : error;
}
