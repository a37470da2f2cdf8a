// The table of the client's requests: the fid that a request makes or ends,
// whether it may be sent again, and how its reply is checked. Each type of
// request has a row here.

import {
  type Message,
  ORCLOSE,
  OTRUNC,
  ProtocolError,
  type ReplyTo,
  type Tmessage,
} from "../../codec.ts";

/** The facts about a request. */
interface MessageRow<T extends Tmessage> {
  /** The fid that the request makes, if it succeeds. */
  readonly makes?: (request: T) => number | undefined;
  /** The fid that must exist for the request. */
  readonly needs?: (request: T) => number;
  /** True when the fid is gone afterwards, whatever the reply is. */
  readonly endsFid?: boolean;
  /**
   * True when the request has changed nothing on the server if the reply is an
   * error.
   */
  readonly onlyAsks?: boolean;
  /**
   * True when the request may be sent again after the connection was lost
   * before its reply came. False by default.
   */
  readonly isRepeatable?: (request: T) => boolean;
  /** Most names or bytes that the request asks for. */
  readonly most?: (request: T) => number;
  /** Number of names or bytes in the reply. */
  readonly got?: (reply: ReplyTo<T>) => number;
  /** True when the reply says that the request has made no fid. */
  readonly isIncomplete?: (request: T, reply: ReplyTo<T>) => boolean;
}

type MessageTable = {
  readonly [T in Tmessage as T["type"]]: MessageRow<T>;
};

const always = () => true;
const fidOf = ({ fid }: { readonly fid: number }) => fid;

const TABLE: MessageTable = {
  Tversion: {},
  Tflush: {},
  Tauth: { makes: ({ afid }) => afid },
  Tattach: {
    makes: fidOf,
    needs: ({ afid }) => afid,
    isRepeatable: always,
  },
  Twalk: {
    makes: ({ fid, newfid }) => newfid === fid ? undefined : newfid,
    needs: fidOf,
    onlyAsks: true,
    isRepeatable: always,
    most: ({ wname }) => wname.length,
    got: ({ wqid }) => wqid.length,
    isIncomplete: ({ wname }, { wqid }) => wqid.length < wname.length,
  },
  Topen: {
    needs: fidOf,
    onlyAsks: true,
    isRepeatable: ({ mode }) => (mode & (OTRUNC | ORCLOSE)) === 0,
  },
  Tcreate: { needs: fidOf },
  Tread: {
    needs: fidOf,
    isRepeatable: always,
    most: ({ count }) => count,
    got: ({ data }) => data.length,
  },
  Twrite: {
    needs: fidOf,
    most: ({ data }) => data.length,
    got: ({ count }) => count,
  },
  Tclunk: {
    needs: fidOf,
    endsFid: true,
    // Without the connection, the server has no such fid any more.
    isRepeatable: always,
  },
  Tremove: { needs: fidOf, endsFid: true },
  Topenfd: { needs: fidOf },
  Tstat: { needs: fidOf, onlyAsks: true, isRepeatable: always },
  Twstat: { needs: fidOf },
  Tcall: { needs: fidOf },
};

/** The row of a request. */
function rowOf<T extends Tmessage>(request: T): MessageRow<T> {
  // TypeScript does not relate a request of a union to the row of its type.
  return TABLE[request.type] as unknown as MessageRow<T>;
}

/** Returns the fid that a request makes when it succeeds; undefined for any other request. */
export function newFidOf(request: Tmessage): number | undefined {
  return rowOf(request).makes?.(request);
}

/**
 * Returns the fid that must exist for a request; undefined if the request needs
 * no fid.
 */
export function neededFidOf(request: Tmessage): number | undefined {
  return rowOf(request).needs?.(request);
}

/** Tells whether a request ends its fid, whatever the reply is. */
export function endsItsFid(
  request: Tmessage,
): request is Extract<Tmessage, { type: "Tclunk" | "Tremove" }> {
  return TABLE[request.type].endsFid === true;
}

/**
 * Tells whether a request is aborted when a fid is closed: true for each
 * request on this fid, except the requests that end the fid.
 */
export function isCancelledWithFid(request: Tmessage, fid: number): boolean {
  return "fid" in request && request.fid === fid && !endsItsFid(request);
}

/**
 * Tells whether a request of a type has changed nothing on the server if the
 * reply is an error.
 *
 * @param type Type of the request, as `NinePError.request` has it.
 */
export function onlyAsks(type: string): boolean {
  return Object.hasOwn(TABLE, type) &&
    TABLE[type as Tmessage["type"]].onlyAsks === true; // It is a member.
}

/** Tells whether a request may be sent again after a lost connection. */
export function isRepeatable(request: Tmessage): boolean {
  return rowOf(request).isRepeatable?.(request) ?? false;
}

/** Tells whether a reply says that a request has not made its fid. */
export function isIncomplete<T extends Tmessage>(
  request: T,
  reply: ReplyTo<T>,
): boolean {
  return rowOf(request).isIncomplete?.(request, reply) ?? false;
}

/**
 * Checks that a reply reports no more names or bytes than its request asked
 * for.
 *
 * @param reply A reply whose type fits the type of the request.
 * @throws {ProtocolError} The reply reports more names or bytes.
 */
export function checkReply(request: Tmessage, reply: Message): void {
  const row = rowOf(request);
  if (row.most === undefined || row.got === undefined) return;
  const most = row.most(request);
  // The caller has checked that the type of the reply fits the request.
  const got = row.got(reply as ReplyTo<Tmessage>);
  if (got <= most) return;
  throw new ProtocolError(
    `Cannot take the reply to ${request.type}: ${reply.type} counts ${got}, the maximum is ${most}`,
  );
}
