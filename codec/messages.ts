// The messages of 9P2000, with one interface for each. Each interface has the
// manual's line for its bytes. layout.ts has the rows for encoding and
// decoding.

import type { Qid } from "./qid.ts";
import type { Stat } from "./stat.ts";

export type { Qid } from "./qid.ts";

/** `size[4] Tversion tag[2] msize[4] version[s]`: starts a session. See `version(9P)`. */
export interface Tversion {
  /** Kind of the message. */
  type: "Tversion";
  /** Tag of the request, normally NOTAG. */
  tag: number;
  /** Largest message, in bytes, that the client takes. */
  msize: number;
  /** Version that the client asks for, `9P2000`. */
  version: string;
}

/** `size[4] Rversion tag[2] msize[4] version[s]`: answers a Tversion. See `version(9P)`. */
export interface Rversion {
  /** Kind of the message. */
  type: "Rversion";
  /** Tag of the request. */
  tag: number;
  /** Largest message, in bytes, of the session. */
  msize: number;
  /** Version of the session, or `unknown`. */
  version: string;
}

/** `size[4] Tauth tag[2] afid[4] uname[s] aname[s]`: begins an authentication. See `attach(9P)`. */
export interface Tauth {
  /** Kind of the message. */
  type: "Tauth";
  /** Names the request among those outstanding. */
  tag: number;
  /** New fid for the exchange. */
  afid: number;
  /** User. */
  uname: string;
  /** Tree. */
  aname: string;
}

/** `size[4] Rauth tag[2] aqid[13]`: answers a Tauth. See `attach(9P)`. */
export interface Rauth {
  /** Kind of the message. */
  type: "Rauth";
  /** Tag of the request. */
  tag: number;
  /** Qid of the authentication file. */
  aqid: Qid;
}

/** `size[4] Tattach tag[2] fid[4] afid[4] uname[s] aname[s]`: gets the root of a tree. See `attach(9P)`. */
export interface Tattach {
  /** Kind of the message. */
  type: "Tattach";
  /** Names the request among those outstanding. */
  tag: number;
  /** New fid for the root. */
  fid: number;
  /** Fid of a finished authentication, or NOFID. */
  afid: number;
  /** User. */
  uname: string;
  /** Tree; empty for the main one. */
  aname: string;
}

/** `size[4] Rattach tag[2] qid[13]`: answers a Tattach. See `attach(9P)`. */
export interface Rattach {
  /** Kind of the message. */
  type: "Rattach";
  /** Tag of the request. */
  tag: number;
  /** Qid of the root. */
  qid: Qid;
}

/** `size[4] Rerror tag[2] ename[s]`: answers any request that failed. See `error(9P)`. */
export interface Rerror {
  /** Kind of the message. */
  type: "Rerror";
  /** Tag of the request. */
  tag: number;
  /** Text of the error. */
  ename: string;
}

/** `size[4] Tflush tag[2] oldtag[2]`: gives up a request. See `flush(9P)`. */
export interface Tflush {
  /** Kind of the message. */
  type: "Tflush";
  /** Names the request among those outstanding. */
  tag: number;
  /** Tag of the request to give up. */
  oldtag: number;
}

/**
 * `size[4] Rflush tag[2]`: answers a Tflush. The client may then use oldtag
 * again. See `flush(9P)`.
 */
export interface Rflush {
  /** Kind of the message. */
  type: "Rflush";
  /** Tag of the request. */
  tag: number;
}

/** `size[4] Twalk tag[2] fid[4] newfid[4] nwname[2] nwname*(wname[s])`: descends a tree. See `walk(9P)`. */
export interface Twalk {
  /** Kind of the message. */
  type: "Twalk";
  /** Names the request among those outstanding. */
  tag: number;
  /** Fid to start from. */
  fid: number;
  /** Fid for the file at the end of the walk; may be the same as `fid`. */
  newfid: number;
  /**
   * Names to walk, at most MAXWELEM. Without names, newfid becomes a copy of
   * fid.
   */
  wname: string[];
}

/** `size[4] Rwalk tag[2] nwqid[2] nwqid*(wqid[13])`: answers a Twalk. See `walk(9P)`. */
export interface Rwalk {
  /** Kind of the message. */
  type: "Rwalk";
  /** Tag of the request. */
  tag: number;
  /**
   * Qids of the files along the path. There are fewer qids than names when a
   * name was not found.
   */
  wqid: Qid[];
}

/** `size[4] Topen tag[2] fid[4] mode[1]`: makes a fid ready for reading or writing. See `open(9P)`. */
export interface Topen {
  /** Kind of the message. */
  type: "Topen";
  /** Names the request among those outstanding. */
  tag: number;
  /** Fid to open. */
  fid: number;
  /** OREAD, OWRITE, ORDWR or OEXEC, possibly with OTRUNC and ORCLOSE. */
  mode: number;
}

/** `size[4] Ropen tag[2] qid[13] iounit[4]`: answers a Topen. See `open(9P)`. */
export interface Ropen {
  /** Kind of the message. */
  type: "Ropen";
  /** Tag of the request. */
  tag: number;
  /** Qid of the file. */
  qid: Qid;
  /** Largest transfer in bytes that is atomic; 0 when the server does not say. */
  iounit: number;
}

/** `size[4] Tcreate tag[2] fid[4] name[s] perm[4] mode[1]`: makes a file and opens it. See `open(9P)`. */
export interface Tcreate {
  /** Kind of the message. */
  type: "Tcreate";
  /** Names the request among those outstanding. */
  tag: number;
  /**
   * Fid of the directory. After the Rcreate, the fid stands for the new file.
   */
  fid: number;
  /** Name of the new file. */
  name: string;
  /** Permissions and DM bits. */
  perm: number;
  /** Mode to open with, as in Topen. */
  mode: number;
}

/** `size[4] Rcreate tag[2] qid[13] iounit[4]`: answers a Tcreate. See `open(9P)`. */
export interface Rcreate {
  /** Kind of the message. */
  type: "Rcreate";
  /** Tag of the request. */
  tag: number;
  /** Qid of the new file. */
  qid: Qid;
  /** Largest transfer in bytes that is atomic; 0 when the server does not say. */
  iounit: number;
}

/** `size[4] Tread tag[2] fid[4] offset[8] count[4]`: reads from a file or directory. See `read(9P)`. */
export interface Tread {
  /** Kind of the message. */
  type: "Tread";
  /** Names the request among those outstanding. */
  tag: number;
  /** Fid, open for reading. */
  fid: number;
  /** Byte to start at, 0 to 2^64 - 1. */
  offset: bigint;
  /** Most bytes to read. */
  count: number;
}

/** `size[4] Rread tag[2] count[4] data[count]`: answers a Tread. See `read(9P)`. */
export interface Rread {
  /** Kind of the message. */
  type: "Rread";
  /** Tag of the request. */
  tag: number;
  /**
   * Bytes that were read. The data are empty at the end of the file. A decoded
   * message has a view into its frame.
   */
  data: Uint8Array;
}

/** `size[4] Twrite tag[2] fid[4] offset[8] count[4] data[count]`: writes to a file. See `read(9P)`. */
export interface Twrite {
  /** Kind of the message. */
  type: "Twrite";
  /** Names the request among those outstanding. */
  tag: number;
  /** Fid, open for writing. */
  fid: number;
  /** Byte to start at, 0 to 2^64 - 1. */
  offset: bigint;
  /** Bytes to write. A decoded message has a view into its frame. */
  data: Uint8Array;
}

/** `size[4] Rwrite tag[2] count[4]`: answers a Twrite. See `read(9P)`. */
export interface Rwrite {
  /** Kind of the message. */
  type: "Rwrite";
  /** Tag of the request. */
  tag: number;
  /** Number of bytes that the server has accepted. */
  count: number;
}

/** `size[4] Tclunk tag[2] fid[4]`: releases a fid. See `clunk(9P)`. */
export interface Tclunk {
  /** Kind of the message. */
  type: "Tclunk";
  /** Names the request among those outstanding. */
  tag: number;
  /** Fid to release. */
  fid: number;
}

/** `size[4] Rclunk tag[2]`: answers a Tclunk. See `clunk(9P)`. */
export interface Rclunk {
  /** Kind of the message. */
  type: "Rclunk";
  /** Tag of the request. */
  tag: number;
}

/**
 * `size[4] Tremove tag[2] fid[4]`: removes a file and releases its fid. See
 * `remove(9P)`.
 */
export interface Tremove {
  /** Kind of the message. */
  type: "Tremove";
  /** Names the request among those outstanding. */
  tag: number;
  /** Fid of the file. The fid is released, also when the request fails. */
  fid: number;
}

/** `size[4] Rremove tag[2]`: answers a Tremove. See `remove(9P)`. */
export interface Rremove {
  /** Kind of the message. */
  type: "Rremove";
  /** Tag of the request. */
  tag: number;
}

/** `size[4] Tstat tag[2] fid[4]`: asks for a file's attributes. See `stat(9P)`. */
export interface Tstat {
  /** Kind of the message. */
  type: "Tstat";
  /** Names the request among those outstanding. */
  tag: number;
  /** Fid of the file. */
  fid: number;
}

/** `size[4] Rstat tag[2] stat[n]`: answers a Tstat. See `stat(9P)`. */
export interface Rstat {
  /** Kind of the message. */
  type: "Rstat";
  /** Tag of the request. */
  tag: number;
  /** Attributes. */
  stat: Stat;
}

/** `size[4] Twstat tag[2] fid[4] stat[n]`: changes a file's attributes. See `stat(9P)`. */
export interface Twstat {
  /** Kind of the message. */
  type: "Twstat";
  /** Names the request among those outstanding. */
  tag: number;
  /** Fid of the file. */
  fid: number;
  /**
   * Attributes to set. `dontTouch()` fills the attributes that stay unchanged.
   */
  stat: Stat;
}

/** `size[4] Rwstat tag[2]`: answers a Twstat. See `stat(9P)`. */
export interface Rwstat {
  /** Kind of the message. */
  type: "Rwstat";
  /** Tag of the request. */
  tag: number;
}

/** `size[4] Tcall tag[2] fid[4] text[s] count[4] data[count]`: calls a function file; an extension. */
export interface Tcall {
  /** Kind of the message. */
  type: "Tcall";
  /** Names the request among those outstanding. */
  tag: number;
  /** Fid of the function file. */
  fid: number;
  /**
   * Arguments: JSON with `argv`, `kwarg` and `data_arg`, unless the function
   * has another loader.
   */
  text: string;
  /**
   * Binary argument; empty when there is none. A decoded message has a view
   * into its frame.
   */
  data: Uint8Array;
}

/** `size[4] Rcall tag[2] err[2] text[s] count[4] data[count]`: answers a Tcall; an extension. */
export interface Rcall {
  /** Kind of the message. */
  type: "Rcall";
  /** Tag of the request. */
  tag: number;
  /** 0, or 255 when the file is not a function. */
  err: number;
  /** Error text that belongs to `err`. */
  text: string;
  /**
   * Return value, encoded by the function's dumper. A decoded message has a
   * view into its frame.
   */
  data: Uint8Array;
}

/** `size[4] Topenfd tag[2] fid[4] mode[1]`: asks a local multiplexer for a file descriptor. See `openfd(9P)`. */
export interface Topenfd {
  /** Kind of the message. */
  type: "Topenfd";
  /** Names the request among those outstanding. */
  tag: number;
  /** Fid to open. */
  fid: number;
  /** OREAD or OWRITE. */
  mode: number;
}

/** `size[4] Ropenfd tag[2] qid[13] iounit[4] unixfd[4]`: answers a Topenfd. See `openfd(9P)`. */
export interface Ropenfd {
  /** Kind of the message. */
  type: "Ropenfd";
  /** Tag of the request. */
  tag: number;
  /** Qid of the file. */
  qid: Qid;
  /** Largest transfer in bytes that is atomic; 0 when the server does not say. */
  iounit: number;
  /** Number of the descriptor that is passed beside the stream. */
  unixfd: number;
}

/** A request, from client to server. */
export type Tmessage =
  | Tversion
  | Tauth
  | Tattach
  | Tflush
  | Twalk
  | Topen
  | Tcreate
  | Tread
  | Twrite
  | Tclunk
  | Tremove
  | Tstat
  | Twstat
  | Tcall
  | Topenfd;

/** A reply, from server to client. */
export type Rmessage =
  | Rversion
  | Rauth
  | Rattach
  | Rerror
  | Rflush
  | Rwalk
  | Ropen
  | Rcreate
  | Rread
  | Rwrite
  | Rclunk
  | Rremove
  | Rstat
  | Rwstat
  | Rcall
  | Ropenfd;

/** Any message, told apart by `type`. */
export type Message = Tmessage | Rmessage;

/** The reply that belongs to a request: `ReplyTo<Twalk>` is `Rwalk`. */
export type ReplyTo<T extends Tmessage> = T extends { type: `T${infer Name}` }
  ? Extract<Rmessage, { type: `R${Name}` }>
  : never;
