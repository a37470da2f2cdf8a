// Requests with data.

import type { Tcall, Twrite } from "../../../codec.ts";
import type { FidNode } from "../../fid.ts";
import { Request, type SessionParts } from "../request.ts";

/**
 * A request with data. The data are in the read buffer until own() copies them.
 */
export abstract class DataRequest<N extends FidNode, Answer>
  extends Request<N, Answer> {
  /**
   * Bytes to write, or the binary argument of a call: a view that is valid
   * until the request is answered.
   */
  bytes: Uint8Array;
  #isOwn = false;

  constructor(session: SessionParts<N>, message: Twrite | Tcall) {
    super(session, message.tag, session.fids.find(message.fid), "beside");
    this.bytes = message.data;
  }

  override get held(): number {
    return this.#isOwn ? 0 : this.bytes.length;
  }

  // The data are copied only once, even if the request waits twice.
  override own(): void {
    if (this.held > 0) this.bytes = this.bytes.slice();
    this.#isOwn = true;
  }
}
