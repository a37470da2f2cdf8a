// The numbers of the protocol, as in intro(9P), open(9P) and stat(9P).

/** Tag of a Tversion: the one request that is outstanding alone. See `version(9P)`. */
export const NOTAG = 0xffff;
/** The fid that stands for no fid, as in the `afid` of an attach without authentication. See `attach(9P)`. */
export const NOFID = 0xffffffff;
/** Most names in a Twalk, most qids in an Rwalk. See `walk(9P)`. */
export const MAXWELEM = 16;
/** Bytes kept free of data in a Twrite or Rread: the largest transfer is msize - IOHDRSZ. See `open(9P)`. */
export const IOHDRSZ = 24;
/** Bytes of a qid on the wire. */
export const QIDSZ = 13;
/** Bytes of a stat record with empty texts, its size field included. See `stat(9P)`. */
export const STATFIXLEN = 49;
/** Bytes of the header of each message: size[4] type[1] tag[2]. */
export const HEADERSZ = 7;
/** The least msize worth accepting: every message of fixed size fits. */
export const MSIZE_MIN = 256;
/** The msize that client and server ask for by default: 1 MiB of data and the header. */
export const MSIZE_DEFAULT: number = 1024 * 1024 + IOHDRSZ;
/** Longest error text, in bytes, that every client takes; Linux drops the connection at 127 and more. */
export const ENAME_MAX = 126;
/** Version string of the protocol. See `version(9P)`. */
export const VERSION9P = "9P2000";

/** Mode bit: a directory. See `stat(9P)`. */
export const DMDIR = 0x80000000;
/** Mode bit: append-only. */
export const DMAPPEND = 0x40000000;
/** Mode bit: exclusive use, one open fid at a time. */
export const DMEXCL = 0x20000000;
/** Mode bit: a mounted channel; not for the wire. */
export const DMMOUNT = 0x10000000;
/** Mode bit: an authentication file. */
export const DMAUTH = 0x08000000;
/** Mode bit: not backed up. */
export const DMTMP = 0x04000000;

/** Permission bit: the owner may read. */
export const DMUREAD = 0o400;
/** Permission bit: the owner may write. */
export const DMUWRITE = 0o200;
/** Permission bit: the owner may execute, or search a directory. */
export const DMUEXEC = 0o100;
/** Permission bit: the group may read. */
export const DMGREAD = 0o040;
/** Permission bit: the group may write. */
export const DMGWRITE = 0o020;
/** Permission bit: the group may execute, or search a directory. */
export const DMGEXEC = 0o010;
/** Permission bit: others may read. */
export const DMOREAD = 0o004;
/** Permission bit: others may write. */
export const DMOWRITE = 0o002;
/** Permission bit: others may execute, or search a directory. */
export const DMOEXEC = 0o001;

/** Qid type: a plain file. See `intro(9P)`. */
export const QTFILE = 0x00;
/** Qid type bit: a directory. */
export const QTDIR = 0x80;
/** Qid type bit: append-only. */
export const QTAPPEND = 0x40;
/** Qid type bit: exclusive use. */
export const QTEXCL = 0x20;
/** Qid type bit: a mounted channel. */
export const QTMOUNT = 0x10;
/** Qid type bit: an authentication file. */
export const QTAUTH = 0x08;
/** Qid type bit: not backed up. */
export const QTTMP = 0x04;

/** Open mode: read. See `open(9P)`. */
export const OREAD = 0x00;
/** Open mode: write. */
export const OWRITE = 0x01;
/** Open mode: read and write. */
export const ORDWR = 0x02;
/** Open mode: read, checked against execute permission. */
export const OEXEC = 0x03;
/** Open mode bit: truncate; needs write permission. */
export const OTRUNC = 0x10;
/** Open mode bit: close on exec; local to a Plan 9 client, ignored on the wire. */
export const OCEXEC = 0x20;
/** Open mode bit: remove when the fid is clunked. */
export const ORCLOSE = 0x40;
/**
 * Open mode bit of 9P2000.u: each write goes to the end of the file. The manual
 * of plain 9P2000 does not have this bit.
 */
export const OAPPEND = 0x80;
