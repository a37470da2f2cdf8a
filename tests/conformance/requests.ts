// Requests without their tags; a Wire adds the tags.

import {
  dontTouch,
  NOFID,
  OREAD,
  type Rmessage,
  type Stat,
  type Tattach,
  type Tauth,
  type Tcall,
  type Tclunk,
  type Tcreate,
  type Tflush,
  type Tmessage,
  type Topen,
  type Tread,
  type Tremove,
  type Tstat,
  type Tversion,
  type Twalk,
  type Twrite,
  type Twstat,
} from "../../codec.ts";

/** A request whose tag is not chosen yet. */
export type Untagged<M extends Tmessage> = M extends Tmessage ? Omit<M, "tag">
  : never;

/** Any request whose tag is not chosen yet. */
export type Request = Untagged<Tmessage>;

/** The reply to a request that succeeds. */
export type ReplyTo<R extends Request> = R extends { type: `T${infer Name}` }
  ? Extract<Rmessage, { type: `R${Name}` }>
  : never;

const encoder = new TextEncoder();

/** Encodes a text as UTF-8; returns bytes unchanged. */
export function bytesOf(data: string | Uint8Array): Uint8Array {
  return typeof data === "string" ? encoder.encode(data) : data;
}

/** Requests, with their fields in the order of the wire. */
export const T = {
  version: (msize = 8192, version = "9P2000"): Untagged<Tversion> => ({
    type: "Tversion",
    msize,
    version,
  }),
  auth: (afid: number, uname: string, aname: string): Untagged<Tauth> => ({
    type: "Tauth",
    afid,
    uname,
    aname,
  }),
  attach: (
    fid: number,
    uname: string,
    aname: string,
    afid: number = NOFID,
  ): Untagged<Tattach> => ({ type: "Tattach", fid, afid, uname, aname }),
  flush: (oldtag: number): Untagged<Tflush> => ({ type: "Tflush", oldtag }),
  walk: (
    fid: number,
    newfid: number,
    ...wname: string[]
  ): Untagged<Twalk> => ({ type: "Twalk", fid, newfid, wname }),
  open: (fid: number, mode: number = OREAD): Untagged<Topen> => ({
    type: "Topen",
    fid,
    mode,
  }),
  create: (
    fid: number,
    name: string,
    perm: number,
    mode: number = OREAD,
  ): Untagged<Tcreate> => ({ type: "Tcreate", fid, name, perm, mode }),
  read: (
    fid: number,
    offset: number | bigint = 0,
    count = 4096,
  ): Untagged<Tread> => ({
    type: "Tread",
    fid,
    offset: BigInt(offset),
    count,
  }),
  write: (
    fid: number,
    data: string | Uint8Array,
    offset: number | bigint = 0,
  ): Untagged<Twrite> => ({
    type: "Twrite",
    fid,
    offset: BigInt(offset),
    data: bytesOf(data),
  }),
  clunk: (fid: number): Untagged<Tclunk> => ({ type: "Tclunk", fid }),
  remove: (fid: number): Untagged<Tremove> => ({ type: "Tremove", fid }),
  stat: (fid: number): Untagged<Tstat> => ({ type: "Tstat", fid }),
  wstat: (fid: number, changes: Partial<Stat> = {}): Untagged<Twstat> => ({
    type: "Twstat",
    fid,
    stat: dontTouch(changes),
  }),
  call: (
    fid: number,
    text: string,
    data: string | Uint8Array = "",
  ): Untagged<Tcall> => ({ type: "Tcall", fid, text, data: bytesOf(data) }),
};
