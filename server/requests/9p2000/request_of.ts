// The requests of 9P2000, by their messages.

import {
  type Message,
  NinePError,
  type Rmessage,
  type Tflush,
  type Tversion,
} from "../../../codec.ts";
import type { FidNode } from "../../fid.ts";
import type { Request, SessionParts } from "../request.ts";
import { TattachRequest, TauthRequest } from "./attach.ts";
import { TcallRequest } from "./call.ts";
import { TclunkRequest, TremoveRequest } from "./clunk.ts";
import { TcreateRequest, TopenRequest } from "./open.ts";
import { TreadRequest } from "./read.ts";
import { TstatRequest, TwstatRequest } from "./stat.ts";
import { TwalkRequest } from "./walk.ts";
import { TwriteRequest } from "./write.ts";

/** A message for which the session creates a request. */
export type RequestMessage = Exclude<Message, Tversion | Tflush>;

/**
 * Creates the request for a message. Throws a NinePError when the protocol does
 * not allow it.
 */
export function requestOf<N extends FidNode>(
  session: SessionParts<N>,
  message: RequestMessage,
): Request<N> {
  switch (message.type) {
    case "Tauth":
      return new TauthRequest(session, message);
    case "Tattach":
      return new TattachRequest(session, message);
    case "Twalk":
      return new TwalkRequest(session, message);
    case "Topen":
      return new TopenRequest(session, message);
    case "Tcreate":
      return new TcreateRequest(session, message);
    case "Tread":
      return new TreadRequest(session, message);
    case "Twrite":
      return new TwriteRequest(session, message);
    case "Tclunk":
      return new TclunkRequest(session, message);
    case "Tremove":
      return new TremoveRequest(session, message);
    case "Tstat":
      return new TstatRequest(session, message);
    case "Twstat":
      return new TwstatRequest(session, message);
    case "Tcall":
      return new TcallRequest(session, message);
    case "Topenfd":
      throw new NinePError("Operation not supported");
    default:
      message satisfies Rmessage; // The compiler reports a request without a case.
      throw new NinePError("protocol botch");
  }
}
