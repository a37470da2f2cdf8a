// Implicit opens: the first read, write or call on a fid that is not open opens
// the file.

import { NinePError, ORDWR, OREAD } from "../../../codec.ts";
import type { FidNode } from "../../fid.ts";
import type { FidState } from "../../fids/fid_state.ts";
import type { Awaitable, Handler } from "../../handler.ts";
import type { Request } from "../request.ts";

/** Access for reading that an implicit open grants. */
export const READ = 1;
/** Access for writing. */
export const WRITE = 2;
/** Access for reading and writing. */
export const BOTH = 3;

/** Throws unless the fid of a request may be opened implicitly. */
export function checkImplicit<N extends FidNode>(request: Request<N>): void {
  const { fid, allowsImplicit } = request;
  if (fid.open || fid.auth || !(allowsImplicit || fid.node.implicitOpen)) {
    throw new NinePError("bad use of fid");
  }
}

/** Returns true when a fid is open, or was opened implicitly with an access. */
export function mayUse<N extends FidNode>(
  fid: FidState<N>,
  access: number,
): boolean {
  return fid.open || (fid.implicit & access) === access;
}

/** Opens a fid implicitly, and then calls `proceed`. */
export function openImplicitly<N extends FidNode, Answer>(
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
      operation.wakeOthers(); // Only after proceed(), because the requests of a fid reach the handler in the order of arrival.
    }
  }, (error) => {
    operation.endOpening();
    throw error;
  });
}
