// Use of a fid that is not open: the first read, write or call opens the file.

import { NinePError, ORDWR, OREAD } from "../../../codec.ts";
import type { Node } from "../../fid.ts";
import type { FidState } from "../../fids/fid_state.ts";
import type { Awaitable, Handler } from "../../handler.ts";
import type { Request } from "../request.ts";

/** Access to read, as an implicit open grants it. */
export const READ = 1;
/** Access to write. */
export const WRITE = 2;
/** Access to read and to write. */
export const BOTH = 3;

/** Throws unless a fid that is not open in the right mode may be used as if it were. */
export function checkImplicit<N extends Node>(request: Request<N>): void {
  const { fid, allowsImplicit } = request;
  if (fid.open || fid.auth || !(allowsImplicit || fid.node.implicitOpen)) {
    throw new NinePError("bad use of fid");
  }
}

/** Tells whether a fid is open, or was opened implicitly for an access. */
export function mayUse<N extends Node>(
  fid: FidState<N>,
  access: number,
): boolean {
  return fid.open || (fid.implicit & access) === access;
}

/** Opens a fid that is not open, once for each access, and goes on. */
export function openImplicitly<N extends Node, Answer>(
  request: Request<N>,
  mode: number,
  handler: Handler<N>,
  proceed: () => Awaitable<Answer>,
): Awaitable<Answer> {
  const { fid, operation } = request;
  const access = mode === ORDWR ? BOTH : mode === OREAD ? READ : WRITE;
  const opened = handler.open(fid, { mode, implicit: true }, request);
  if (!(opened instanceof Promise)) {
    fid.implicit |= access;
    return proceed();
  }
  operation.startOpening();
  return opened.then(() => {
    fid.implicit |= access;
    operation.endOpening();
    operation.throwIfFlushed();
    try {
      return proceed();
    } finally {
      operation.wakeOthers(); // Here, because requests of one fid go to the handler in their order.
    }
  }, (error) => {
    operation.endOpening();
    throw error;
  });
}
