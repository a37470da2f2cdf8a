// An open file in a lower tree of a union. Reads move to the copy when the file
// is copied.

import { NinePError } from "../../codec.ts";
import type {
  Awaitable,
  OpenRequest,
  ReadRequest,
  RequestContext,
} from "../../server.ts";
import type { Ending, OpenFile, TreeFile } from "../tree.ts";
import { NO_BYTES } from "../../codec/wire.ts";

/** A file that may be copied to another tree later. */
export interface Movable {
  /** The file in the lower tree; after a copy, the file in the upper tree. */
  readonly file: TreeFile;
}

/** Reads a file of a lower tree. After the file was copied, reads the copy. */
export class LowerOpen implements OpenFile {
  readonly #node: Movable;
  readonly #request: OpenRequest;
  #file: TreeFile;
  #open: OpenFile;
  #following: Promise<void> | undefined;
  #isOver = false;

  constructor(node: Movable, request: OpenRequest, open: OpenFile) {
    this.#node = node;
    this.#request = request;
    this.#file = node.file;
    this.#open = open;
  }

  read(request: ReadRequest, context: RequestContext): Awaitable<Uint8Array> {
    if (this.#node.file === this.#file && this.#following === undefined) {
      return this.#open.read?.(request, context) ?? NO_BYTES;
    }
    return this.#readCopy(request, context);
  }

  async #readCopy(
    request: ReadRequest,
    context: RequestContext,
  ): Promise<Uint8Array> {
    this.#following ??= this.#follow(context).finally(() => {
      this.#following = undefined;
    });
    await this.#following;
    return await this.#open.read?.(request, context) ?? NO_BYTES;
  }

  async #follow(context: RequestContext): Promise<void> {
    const { file } = this.#node;
    const open = await file.open?.(this.#request, context) ?? {};
    const old = this.#isOver ? open : this.#open;
    if (!this.#isOver) {
      this.#open = open;
      this.#file = file;
    }
    await old.close?.({ lost: false, writeFailed: false });
    if (this.#isOver) throw new NinePError("bad use of fid");
  }

  close(ending: Ending): Awaitable<void> {
    this.#isOver = true;
    return this.#open.close?.(ending);
  }
}
