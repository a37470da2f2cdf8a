/**
 * Faulty servers, each with one fault, made of a correct server by an
 * interceptor. Each fault lists the cases that must detect it.
 *
 * @module
 */

import {
  decodeDir,
  DMAPPEND,
  encodeDir,
  isTmessage,
  type Message,
  NOTAG,
  ORCLOSE,
  OTRUNC,
  OWRITE,
  QTAPPEND,
  QTDIR,
  type Rmessage,
} from "../../codec.ts";
import {
  bytes,
  each,
  EMPTY,
  error,
  type Fault,
  QID,
  type Relay,
  replies,
  requests,
  successOf,
  withQids,
} from "../client/interceptor.ts";

/** The cases that expect an error and get a success reply. */
const ERROR_CASES =
  "S19 S28 S29 S30 S32 S33 S37 S38 S45 S46 S47 S48 S50 S51 S52 S53 S54 S55 S58 S59 S61 S62 S63 S67 S68 S70 S75 S78 S80 S85 S88 S89 S90 S91 S97 S98 S99 S100 S101 S102 S103 S104 S105 S113 S115 S116 S117 S120 S125";

/** The faults, in the order of the groups of cases. */
export const faults: readonly Fault[] = [
  each("takes what comes in one piece for one message", "S1 S2", () => ({
    chunk: (bytes) => {
      const size = new DataView(bytes.buffer).getUint32(0, true);
      return bytes.subarray(0, size);
    },
    illegalSize: () => {},
  })),
  each("waits behind a size that cannot be", "S3 S4", () => ({
    illegalSize: () => {},
  })),
  each("does not see that a client is gone", "S5 S58 S87 S114", () => ({
    clientEnds: () => {},
  })),
  each(
    "makes sense of what does not decode",
    "S6 S7 S8 S9 S10 S11 S12 S13 S14 S104",
    () => ({
      malformedFrame: (frame, relay) =>
        relay.toClient({ type: "Rclunk", tag: frame[5] + 256 * frame[6] }),
      request: (message, relay) => {
        if (isTmessage(message)) relay.toServer(message);
        else relay.toClient({ type: "Rclunk", tag: message.tag });
      },
    }),
  ),
  {
    name: "dies of what does not decode",
    ids: "S6 S10 S15",
    begin: () => {
      let isDead = false;
      return () => ({
        request: (message, relay) =>
          isDead ? relay.end() : relay.toServer(message),
        malformedFrame: (_, relay) => {
          isDead = true;
          relay.end();
        },
      });
    },
  },
  replies(
    "counts characters, not bytes",
    "S16",
    (reply) =>
      reply.type === "Rstat"
        ? {
          ...reply,
          stat: {
            ...reply.stat,
            name: reply.stat.name.replace(/[^ -~]+$/u, ""),
          },
        }
        : reply,
  ),
  each("needs no Tversion", "S17", () => {
    let started = false;
    return {
      request: (message, relay) => {
        if (!started && message.type !== "Tversion") {
          relay.toServer({
            type: "Tversion",
            tag: 7777,
            msize: 8192,
            version: "9P2000",
          });
        }
        started = true;
        relay.toServer(message);
      },
      reply: (reply, _, relay) => {
        if (reply.tag !== 7777) relay.toClient(reply);
      },
    };
  }),
  replies(
    "offers more than was asked for",
    "S18",
    (reply) =>
      reply.type === "Rversion" ? { ...reply, msize: reply.msize + 1 } : reply,
  ),
  each("says yes to every Tversion", "S19 S20 S21 S22", () => ({
    request: (message, relay) => {
      if (message.type !== "Tversion") return relay.toServer(message);
      relay.toServer({ ...message, msize: 8192, version: "9P2000" });
      relay.toClient({ ...message, type: "Rversion", tag: NOTAG });
    },
    reply: (reply, _, relay) => {
      if (reply.type !== "Rversion") relay.toClient(reply);
    },
  })),
  each("goes on in the old session", "S23 S24", () => {
    let first: Rmessage | undefined;
    return {
      request: (message, relay) => {
        if (message.type === "Tversion" && first) relay.toClient(first);
        else relay.toServer(message);
      },
      reply: (reply, _, relay) => {
        if (reply.type === "Rversion") first = reply;
        relay.toClient(reply);
      },
    };
  }),
  replies(
    "tells long stories",
    "S25",
    (reply) =>
      reply.type === "Rerror" ? error(reply.tag, "long ".repeat(60)) : reply,
  ),
  requests(
    "reads no more than there is room for, or nothing",
    "S26",
    (message) =>
      message.type === "Tread" && message.count > 8000
        ? error(message.tag, "illegal count")
        : message,
  ),
  each("keeps the afid of a Tauth that it refused", "S27", () => {
    let afid: number | undefined;
    return {
      request: (message, relay) => {
        if (message.type === "Tauth") afid = message.afid;
        if (message.type === "Tattach" && message.fid === afid) {
          relay.toClient(error(message.tag, "fid already in use"));
        } else relay.toServer(message);
      },
    };
  }),
  each("never says no", ERROR_CASES, () => ({
    reply: (reply, request, relay) =>
      relay.toClient(
        reply.type === "Rerror" ? successOf(request, reply) : reply,
      ),
  })),
  replies(
    "has two qids for the root",
    "S31",
    (reply) =>
      reply.type === "Rattach"
        ? withQids(reply, (qid) => ({ ...qid, path: qid.path + 1n }))
        : reply,
  ),
  requests(
    "is of one user",
    "S34",
    (message) =>
      message.type === "Tattach" ? { ...message, uname: "glenda" } : message,
  ),
  replies(
    "gives a qid for no name",
    "S35",
    (reply, request) =>
      reply.type === "Rwalk" && request?.type === "Twalk" &&
        request.wname.length === 0
        ? { ...reply, wqid: [QID] }
        : reply,
  ),
  requests(
    "does not move a fid",
    "S36",
    (message) =>
      message.type === "Twalk" && message.fid === message.newfid
        ? {
          type: "Rwalk",
          tag: message.tag,
          wqid: message.wname.map(() => QID),
        }
        : message,
  ),
  replies(
    "refuses a walk that ends early",
    "S39 S40 S42 S45 S49",
    (reply, request) =>
      reply.type === "Rwalk" && request?.type === "Twalk" &&
        reply.wqid.length < request.wname.length
        ? error(reply.tag, "file does not exist")
        : reply,
  ),
  each("goes as far as it can", "S39 S40", () => ({
    reply: (reply, request, relay) => {
      relay.toClient(reply);
      if (reply.type !== "Rwalk" || request?.type !== "Twalk") return;
      const { length } = reply.wqid;
      if (reply.tag === 7777 || length === request.wname.length) return;
      const wname = request.wname.slice(0, length);
      relay.toServer({ ...request, tag: 7777, wname });
    },
  })),
  replies(
    "walks eight names at most",
    "S41",
    (reply) =>
      reply.type === "Rwalk"
        ? { ...reply, wqid: reply.wqid.slice(0, 8) }
        : reply,
  ),
  requests(
    "has no `..`",
    "S43 S44",
    (message) =>
      message.type === "Twalk" && message.wname.includes("..")
        ? error(message.tag, "file does not exist")
        : message,
  ),
  requests("has a file of every odd name", "S45 S46 S62", (message) => {
    if (message.type !== "Twalk" && message.type !== "Tcreate") return message;
    const names = message.type === "Twalk" ? message.wname : [message.name];
    const isOdd = names.some((name) => ["", ".", "/", "a/b"].includes(name));
    return isOdd ? successOf(message, error(message.tag, "")) : message;
  }),
  requests(
    "truncates nothing",
    "S53 S54 S57",
    (message) =>
      message.type === "Topen"
        ? { ...message, mode: message.mode & ~OTRUNC }
        : message,
  ),
  requests(
    "removes nothing at a clunk",
    "S5 S55 S67 S87 S114",
    (message) =>
      message.type === "Topen" || message.type === "Tcreate"
        ? { ...message, mode: message.mode & ~ORCLOSE }
        : message,
  ),
  each("says append-only, and is not", "S56 S79", () => ({
    request: (message, relay) =>
      relay.toServer(
        message.type === "Tcreate" && (message.perm & DMAPPEND) !== 0
          ? { ...message, perm: message.perm - DMAPPEND }
          : message,
      ),
    reply: (reply, _, relay) =>
      relay.toClient(
        withQids(reply, (qid) =>
          reply.type === "Rcreate"
            ? { ...qid, type: qid.type | QTAPPEND }
            : qid),
      ),
  })),
  replies(
    "has an iounit above msize",
    "S60",
    (reply) => reply.type === "Ropen" ? { ...reply, iounit: 8192 } : reply,
  ),
  each("has a created file closed", "S64 S68", () => {
    const made = new Set<number>();
    return {
      request: (message, relay) => {
        if (message.type === "Tcreate") made.add(message.fid);
        if (message.type === "Twrite" && made.has(message.fid)) {
          relay.toClient(error(message.tag, "bad use of fid"));
        } else relay.toServer(message);
      },
    };
  }),
  requests(
    "has its own idea of permissions",
    "S65",
    (message) =>
      message.type === "Tcreate"
        ? { ...message, perm: (message.perm | 0o666) >>> 0 }
        : message,
  ),
  replies(
    "says that nobody did it",
    "S66 S69",
    (reply) =>
      reply.type === "Rstat"
        ? { ...reply, stat: { ...reply.stat, uid: "nobody", muid: "nobody" } }
        : reply,
  ),
  replies(
    "has no versions",
    "S57 S69 S82 S97",
    (reply) => withQids(reply, (qid) => ({ ...qid, vers: 0 })),
  ),
  replies(
    "has no clock",
    "S57 S69 S82",
    (reply) =>
      reply.type === "Rstat"
        ? { ...reply, stat: { ...reply.stat, mtime: 1_000_000_000 } }
        : reply,
  ),
  replies(
    "takes the end for an error",
    "S71 S72 S73",
    (reply, request) =>
      reply.type === "Rread" && request?.type === "Tread" &&
        reply.data.length < request.count
        ? error(reply.tag, "end of file")
        : reply,
  ),
  requests(
    "has offsets of 32 bits",
    "S71 S73 S80",
    (message) =>
      message.type === "Tread" || message.type === "Twrite"
        ? { ...message, offset: message.offset & 0xffffffffn }
        : message,
  ),
  ...directoryFaults(),
  requests(
    "refuses to write nothing",
    "S81",
    (message) =>
      message.type === "Twrite" && message.data.length === 0
        ? error(message.tag, "Invalid argument")
        : message,
  ),
  replies(
    "takes more than it is given",
    "S82",
    (reply) =>
      reply.type === "Rwrite" ? { ...reply, count: reply.count + 1 } : reply,
  ),
  each(
    "does one thing at a time",
    "S83 S107 S109 S112 S113 S114 S116 S117",
    () => {
      const waiting: Message[] = [];
      let isBusy = false;
      const next = (relay: Relay) => {
        const message = waiting.shift();
        isBusy = message !== undefined;
        if (message !== undefined) relay.toServer(message);
      };
      return {
        request: (message, relay) => {
          waiting.push(message);
          if (!isBusy) next(relay);
        },
        reply: (reply, _, relay) => {
          relay.toClient(reply);
          next(relay);
        },
      };
    },
  ),
  each("looks at permissions at each read", "S84", () => {
    let isClosed = false;
    return {
      request: (message, relay) => {
        if (message.type === "Twstat") isClosed = message.stat.mode === 0;
        if (isClosed && message.type === "Tread") {
          relay.toClient(error(message.tag, "permission denied"));
        } else relay.toServer(message);
      },
    };
  }),
  requests(
    "forgets no fid",
    "S58 S85 S86 S87",
    (message) =>
      message.type === "Tclunk"
        ? { type: "Rclunk", tag: message.tag }
        : message,
  ),
  requests(
    "forgets what it removes too late",
    "S89",
    (message) =>
      message.type === "Tremove"
        ? error(message.tag, "directory is not empty")
        : message,
  ),
  each("gives the data of another file", "S92", () => {
    let removed = false;
    return {
      request: (message, relay) => {
        if (message.type === "Tremove") removed = true;
        relay.toServer(message);
      },
      reply: (reply, _, relay) =>
        relay.toClient(
          removed && reply.type === "Rread"
            ? { ...reply, data: bytes("other") }
            : reply,
        ),
    };
  }),
  replies(
    "calls its root by another name",
    "S93",
    (reply) =>
      reply.type === "Rstat" && reply.stat.name === "/"
        ? { ...reply, stat: { ...reply.stat, name: "root" } }
        : reply,
  ),
  replies(
    "keeps the kind of a file to the qid",
    "S94",
    (reply) =>
      reply.type === "Rstat"
        ? {
          ...reply,
          stat: { ...reply.stat, mode: reply.stat.mode & 0xffffff },
        }
        : reply,
  ),
  replies(
    "has directories with a length",
    "S95",
    (reply) =>
      reply.type === "Rstat" && (reply.stat.qid.type & QTDIR) !== 0
        ? { ...reply, stat: { ...reply.stat, length: 4096n } }
        : reply,
  ),
  requests(
    "refuses a Twstat of nothing",
    "S96",
    (message) =>
      message.type === "Twstat" && message.stat.mode === 0xffffffff &&
        message.stat.name === "" && message.stat.length > 1n << 63n
        ? error(message.tag, "wstat prohibited")
        : message,
  ),
  each("makes changes one by one", "S103", () => ({
    request: (message, relay) => {
      if (message.type === "Twstat") {
        const stat = {
          ...message.stat,
          name: "",
          uid: "",
          type: 0xffff,
          dev: 0xffffffff,
        };
        relay.toServer({ ...message, tag: 7777, stat });
      }
      relay.toServer(message);
    },
    reply: (reply, _, relay) => {
      if (reply.tag !== 7777) relay.toClient(reply);
    },
  })),
  replies(
    "renames into a new file",
    "S98",
    (reply) =>
      reply.type === "Rstat" && reply.stat.name === "new"
        ? withQids(reply, () => QID)
        : reply,
  ),
  replies(
    "has errors for flushes",
    "S106 S107 S108 S109 S110 S111 S112",
    (reply) =>
      reply.type === "Rflush" ? error(reply.tag, "no such tag") : reply,
  ),
  each("answers what was flushed", "S107 S108 S109 S111 S112", () => {
    const flushed = new Set<number>();
    const late = new Map<number, Rmessage>();
    return {
      request: (message, relay) => {
        if (message.type === "Tflush") flushed.add(message.oldtag);
        else flushed.delete(message.tag);
        relay.toServer(message);
      },
      reply: (reply, request, relay) => {
        if (flushed.has(reply.tag)) late.set(reply.tag, reply);
        else relay.toClient(reply);
        if (request?.type !== "Tflush" || request.oldtag !== 900) return;
        const tag = request.oldtag;
        relay.toClient(late.get(tag) ?? { type: "Rread", tag, data: EMPTY });
        late.delete(tag);
      },
    };
  }),
  each("loses a connection over an error", "S115 S117", () => ({
    reply: (reply, _, relay) => {
      if (
        reply.type === "Rerror" &&
        /i\/o error|Too many/.test(reply.ename)
      ) relay.end();
      else relay.toClient(reply);
    },
  })),
  ...functionFaults(),
];

function directoryFaults(): Fault[] {
  /** Makes a fault that alters the data of directory reads. */
  const directories = (
    name: string,
    ids: string,
    alter: (
      data: Uint8Array,
      offset: bigint,
      count: number,
    ) => Uint8Array | string,
  ): Fault =>
    each(name, ids, () => {
      const open = new Set<number>();
      return {
        reply: (reply, request, relay) => {
          if (reply.type === "Ropen" && request?.type === "Topen") {
            if ((reply.qid.type & QTDIR) !== 0) open.add(request.fid);
            else open.delete(request.fid);
          }
          if (
            reply.type !== "Rread" || request?.type !== "Tread" ||
            !open.has(request.fid)
          ) return relay.toClient(reply);
          const data = alter(reply.data, request.offset, request.count);
          if (typeof data === "string") relay.toClient(error(reply.tag, data));
          else relay.toClient({ ...reply, data });
        },
      };
    });
  return [
    directories(
      "cuts records",
      "S74 S75 S77",
      (data) => data.subarray(0, data.length - 5),
    ),
    directories(
      "lists other attributes than it tells",
      "S74",
      (data) =>
        encodeDir(decodeDir(data).map((stat) => ({ ...stat, length: 1n }))),
    ),
    directories(
      "loses an entry at each read",
      "S77",
      (data, offset) =>
        offset > 0n ? encodeDir(decodeDir(data).slice(1)) : data,
    ),
    directories(
      "takes little room for an error",
      "S76",
      (data, offset, count) =>
        offset > 0n && count < 50 ? "Invalid argument" : data,
    ),
    replies(
      "takes any offset in a directory",
      "S75",
      (reply) =>
        reply.type === "Rerror" && reply.ename.includes("directory read")
          ? { type: "Rread", tag: reply.tag, data: EMPTY }
          : reply,
    ),
  ];
}

function functionFaults(): Fault[] {
  return [
    requests(
      "looks at positional arguments only",
      "S118",
      (message) =>
        message.type === "Tcall"
          ? { ...message, text: message.text.replaceAll("kwarg", "x") }
          : message,
    ),
    requests(
      "looks at no payload",
      "S118",
      (message) =>
        message.type === "Tcall" ? { ...message, data: EMPTY } : message,
    ),
    replies(
      "takes every file for a function",
      "S119",
      (reply) => reply.type === "Rcall" ? { ...reply, err: 0 } : reply,
    ),
    replies(
      "fails in words",
      "S120 S124 S125",
      (reply) =>
        reply.type === "Rerror" ? error(reply.tag, "it failed") : reply,
    ),
    requests(
      "reads values from the start",
      "S121 S122",
      (message) =>
        message.type === "Tread" ? { ...message, offset: 0n } : message,
    ),
    each("calls once", "S121 S122", () => {
      let first: Uint8Array | undefined;
      return {
        reply: (reply, request, relay) => {
          const isFirst = reply.type === "Rread" && request?.type === "Tread" &&
            request.offset === 0n;
          if (isFirst) first ??= reply.data;
          relay.toClient(isFirst && first ? { ...reply, data: first } : reply);
        },
      };
    }),
    {
      name: "keeps the arguments of all in one place",
      ids: "S123",
      begin: () => {
        let last: Uint8Array | undefined;
        return () => ({
          request: (message, relay) => {
            if (message.type === "Twrite") last = message.data;
            if (message.type === "Tread" && last) {
              const { fid } = message;
              relay.toServer({
                type: "Twrite",
                tag: 7777,
                fid,
                offset: 0n,
                data: last,
              });
            }
            relay.toServer(message);
          },
          reply: (reply, _, relay) => {
            if (reply.tag !== 7777) relay.toClient(reply);
          },
        });
      },
    },
    each("does not let anybody go", "S124", () => ({ serverEnds: () => {} })),
    {
      name: "forgets arguments at an OTRUNC",
      ids: "S126",
      begin: () => {
        let isEmpty = false;
        return () => ({
          request: (message, relay) => {
            if (
              message.type === "Topen" && message.mode === (OWRITE | OTRUNC)
            ) {
              isEmpty = true;
            }
            if (message.type === "Twrite") isEmpty = false;
            if (message.type === "Tread" && isEmpty) {
              relay.toClient({
                type: "Rread",
                tag: message.tag,
                data: EMPTY,
              });
            } else relay.toServer(message);
          },
        });
      },
    },
  ];
}
