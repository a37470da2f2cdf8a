// The requests of 9P2000, by their messages.

import {
  type Message,
  NinePError,
  type Rmessage,
  type Tflush,
  type Tversion,
} from "../../../codec.ts";
import type { Node } from "../../fid.ts";
import type { Request, SessionParts } from "../request.ts";
import { Attach, Auth } from "./attach.ts";
import { Call } from "./call.ts";
import { Clunk, Remove } from "./clunk.ts";
import { Create, Open } from "./open.ts";
import { Read } from "./read.ts";
import { Stat, Wstat } from "./stat.ts";
import { Walk } from "./walk.ts";
import { Write } from "./write.ts";

/** A message that a session does not process itself. */
export type RequestMessage = Exclude<Message, Tversion | Tflush>;

/** Makes the request of a message; throws a NinePError for what the protocol refuses. */
export function requestOf<N extends Node>(
  session: SessionParts<N>,
  message: RequestMessage,
): Request<N> {
  switch (message.type) {
    case "Tauth":
      return new Auth(session, message);
    case "Tattach":
      return new Attach(session, message);
    case "Twalk":
      return new Walk(session, message);
    case "Topen":
      return new Open(session, message);
    case "Tcreate":
      return new Create(session, message);
    case "Tread":
      return new Read(session, message);
    case "Twrite":
      return new Write(session, message);
    case "Tclunk":
      return new Clunk(session, message);
    case "Tremove":
      return new Remove(session, message);
    case "Tstat":
      return new Stat(session, message);
    case "Twstat":
      return new Wstat(session, message);
    case "Tcall":
      return new Call(session, message);
    case "Topenfd":
      throw new NinePError("Operation not supported");
    default:
      message satisfies Rmessage; // A new request needs a case.
      throw new NinePError("protocol botch");
  }
}
