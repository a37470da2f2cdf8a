// The error texts of 9P servers, and the two classes.

import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertStrictEquals,
  assertThrows,
} from "@std/assert";
import {
  codeOf,
  decode,
  enameOf,
  encode,
  encodeInto,
  type Message,
  NinePError,
  ProtocolError,
} from "../../codec.ts";
import { codeOfErrno, errnoOf } from "../../codec/error_table.ts";
import { test } from "../harness.ts";

/** Codes with the text that this library sends, then all others in use. */
const TEXTS: [code: string, ename: string, ...others: string[]][] = [
  [
    "ENOENT",
    "file does not exist",
    "file not found",
    "No such file or directory",
    "directory entry not found",
    "unknown specifier in attach",
    "bad attach specifier",
    "file has been removed",
    "phase error",
    "illegal path element",
    "directory entry is not allocated",
    "No such path",
    "No such file",
    "not found",
    "does not exist",
  ],
  [
    "EEXIST",
    "file already exists",
    "file exists",
    "File exists",
    "file or directory already exists",
  ],
  [
    "EACCES",
    "permission denied",
    "Permission denied",
    "authentication failed",
    "authentication required",
    "authentication rejected",
  ],
  [
    "EPERM",
    "not owner",
    "Operation not permitted",
    "not a member of proposed group",
    "only owner can change group in wstat",
    "wstat prohibited",
    "wstat -- attempt to change qid.path",
    "wstat -- attempt to change qid.vers",
    "wstat -- attempt to change dev",
    "wstat can't convert between files and directories",
    "cannot remove root",
    "no access to special file",
    "only support truncation to zero length",
  ],
  [
    "EINVAL",
    "Invalid argument",
    "unknown group",
    "unknown user",
    "illegal name", // also used for names that are too long
    "illegal mode",
    "illegal offset",
    "bad offset", // also used for offsets in a directory
  ],
  [
    "EPROTO",
    "protocol botch",
    "bogus wstat buffer",
    "bad directory in wstat",
    "duplicate tag",
    "9P protocol botch", // also used for fids in a wrong state
    "Protocol error",
  ],
  [
    "ENOTDIR",
    "not a directory",
    "walk in non-directory",
    "create in non-directory",
    "Not a directory",
  ],
  [
    "EISDIR",
    "Is a directory",
    "is a directory",
    "file is a directory",
  ],
  [
    "ENOTEMPTY",
    "directory is not empty",
    "Directory not empty",
    "has children",
  ],
  ["ENAMETOOLONG", "File name too long"],
  ["ESPIPE", "bad offset in directory read"],
  ["EFBIG", "file too big"],
  [
    "EBADF",
    "fid unknown or out of range",
    "unknown fid",
    "fid already in use",
    "duplicate fid",
    "bad use of fid",
    "cannot clone open fid",
  ],
  ["ETXTBSY", "file already open for I/O", "Text file busy"],
  [
    "EAGAIN",
    "exclusive use file already open",
    "file is in use",
    "file in use",
    "Resource temporarily unavailable",
  ],
  [
    "EROFS",
    "read only file system",
    "Read-only file system",
    "file is read only",
  ],
  ["ENOSPC", "file system is full", "No space left on device"],
  ["EDQUOT", "Disk quota exceeded"],
  ["EMFILE", "Too many open files"],
  ["EIO", "i/o error", "Input/output error", "i/o count too large"],
  [
    "EOPNOTSUPP",
    "Operation not supported",
    "create prohibited",
    "remove prohibited",
    "unknown message",
    "authentication not required",
    "no authentication required",
  ],
  ["ENOSYS", "Function not implemented"],
  ["ETIMEDOUT", "Connection timed out"],
  ["EINTR", "Interrupted system call", "interrupted"],
  ["EXDEV", "Invalid cross-device link"],
  ["ENODATA", "No data available"],
  ["EBUSY", "Device or resource busy"],
  ["ECONNREFUSED", "Connection refused"],
  ["ENOMEM", "Cannot allocate memory"],
  ["ENXIO", "No such device or address"],
  ["E2BIG", "Argument list too long"],
  ["EFAULT", "Bad address"],
  ["ENOTBLK", "Block device required"],
  ["ENODEV", "No such device"],
  ["ENFILE", "Too many open files in system"],
  ["EMLINK", "Too many links"],
  ["EPIPE", "Broken pipe"],
  ["EDOM", "Numerical argument out of domain"],
  ["ERANGE", "Numerical result out of range"],
  ["EDEADLK", "Resource deadlock avoided"],
  ["ENOLCK", "No locks available"],
  ["ELOOP", "Too many levels of symbolic links"],
  ["ENOMSG", "No message of desired type"],
  ["EIDRM", "Identifier removed"],
  ["ENONET", "Machine is not on the network"],
  ["ENOPKG", "Package not installed"],
  ["EREMOTE", "Object is remote"],
  ["ENOLINK", "Link has been severed"],
  ["ECOMM", "Communication error on send"],
  ["EBADMSG", "Bad message"],
  ["EBADFD", "File descriptor in bad state"],
  ["ESTRPIPE", "Streams pipe error"],
  ["EUSERS", "Too many users"],
  ["ENOTSOCK", "Socket operation on non-socket"],
  ["EMSGSIZE", "Message too long"],
  ["ENOPROTOOPT", "Protocol not available"],
  ["EPROTONOSUPPORT", "Protocol not supported"],
  ["ESOCKTNOSUPPORT", "Socket type not supported"],
  ["EPFNOSUPPORT", "Protocol family not supported"],
  ["ENETDOWN", "Network is down"],
  ["ENETUNREACH", "Network is unreachable"],
  ["ENETRESET", "Network dropped connection on reset"],
  ["ECONNABORTED", "Software caused connection abort"],
  ["ECONNRESET", "Connection reset by peer"],
  ["ENOBUFS", "No buffer space available"],
  ["EISCONN", "Transport endpoint is already connected"],
  ["ENOTCONN", "Transport endpoint is not connected"],
  ["ESHUTDOWN", "Cannot send after transport endpoint shutdown"],
  ["EHOSTDOWN", "Host is down"],
  ["EHOSTUNREACH", "No route to host"],
  ["EALREADY", "Operation already in progress"],
  ["EINPROGRESS", "Operation now in progress"],
  ["EISNAM", "Is a named type file"],
  ["EREMOTEIO", "Remote I/O error"],
  ["ESTALE", "Stale file handle"],
  ["ECANCELED", "Operation canceled"],
  ["EOVERFLOW", "Value too large for defined data type"],
  ["ENOTTY", "Inappropriate ioctl for device"],
  ["ESRCH", "No such process"],
  ["EADDRINUSE", "Address already in use"],
  ["EADDRNOTAVAIL", "Cannot assign requested address"],
  ["EAFNOSUPPORT", "Address family not supported by protocol"],
];

test("codeOf() knows every text in use", () => {
  for (const [code, ...texts] of TEXTS) {
    for (const text of texts) assertEquals(codeOf(text), code, text);
  }
});

test("codeOf() does not care about case", () => {
  for (const [code, ...texts] of TEXTS) {
    for (const text of texts) {
      assertEquals(codeOf(text.toUpperCase()), code, text);
      assertEquals(codeOf(text.toLowerCase()), code, text);
    }
  }
});

test("codeOf() does not care about a period at the end", () => {
  for (const [code, ...texts] of TEXTS) {
    for (const text of texts) {
      assertEquals(codeOf(`${text}.`), code, text);
      assertEquals(codeOf(`${text.toUpperCase()}. `), code, text);
      assertEquals(codeOf(`'a.b' ${text}.`), code, text);
    }
  }
  assertEquals(codeOf("file does not exist.."), undefined);
});

test("codeOf() finds a text behind a file's name", () => {
  const names = [
    "motd: ",
    "/usr/glenda/a file: ",
    "'motd' ",
    "'it isn't' ",
    "open: /a: b: ",
    "'a: b' ",
    "a' b: ",
  ];
  for (const [code, ...texts] of TEXTS) {
    for (const text of texts) {
      for (const name of names) assertEquals(codeOf(name + text), code, text);
      assertEquals(codeOf(` ${text}\n`), code, text);
    }
  }
});

test("codeOf() gives nothing for other texts", () => {
  const texts = [
    "",
    ": ",
    "' ",
    "no",
    "file does not exist!",
    "the file does not exist",
    "file does not exist: motd",
    "motd:file does not exist",
    "wstat -- attempt to",
    "constructor",
    "__proto__",
    "ENOENT",
    '{"class": "FileNotFoundError", "argv": [2], "str": ""}',
  ];
  for (const text of texts) assertEquals(codeOf(text), undefined, text);
});

test("enameOf() gives the text that this library sends", () => {
  for (const [code, ename] of TEXTS) {
    assertEquals(enameOf(code), ename);
    // Linux drops the connection at longer ones.
    assert(new TextEncoder().encode(ename).length <= 126);
  }
  for (const code of ["", "EWOULDNOTSAY", "enoent", "__proto__"]) {
    assertEquals(enameOf(code), undefined);
  }
});

test("NinePError has the text, the code and the cause", () => {
  const error = new NinePError("file does not exist");
  assertInstanceOf(error, Error);
  assertEquals(error.name, "NinePError");
  assertEquals(error.ename, "file does not exist");
  assertEquals(error.message, "file does not exist");
  assertEquals(error.code, "ENOENT");
  assert(!("cause" in error));

  const cause = new Error("why");
  const full = new NinePError("some text", {
    code: "ENOENT",
    message: 'Cannot open "motd": some text',
    cause,
  });
  assertEquals(full.ename, "some text");
  assertEquals(full.message, 'Cannot open "motd": some text');
  assertEquals(full.code, "ENOENT");
  assertStrictEquals(full.cause, cause);
  assertEquals(new NinePError("some text").code, undefined);
});

test("NinePError keeps its text across the wire", () => {
  for (const [code, ...texts] of TEXTS) {
    for (const ename of texts) {
      const frame = encode({ type: "Rerror", tag: 1, ename });
      const message = decode(frame);
      assert(message.type === "Rerror");
      assertEquals(new NinePError(message.ename).code, code);
    }
  }
});

test("ProtocolError has the code and the cause", () => {
  const error = new ProtocolError("Cannot decode a message: x");
  assertInstanceOf(error, Error);
  assertEquals(error.name, "ProtocolError");
  assertEquals(error.code, undefined);
  assert(!("cause" in error));
  const cause = new Error("why");
  const full = new ProtocolError("x", { code: "ECONNREFUSED", cause });
  assertEquals(full.code, "ECONNREFUSED");
  assertStrictEquals(full.cause, cause);
});

test("encode() names what is of a wrong type, and goes on", () => {
  const wrong: [object, string][] = [
    [
      { type: "Tattach", tag: 1, fid: 1, afid: 1, uname: 5, aname: "" },
      "uname",
    ],
    [{ type: "Tcreate", tag: 1, fid: 1, perm: 0, mode: 0 }, "name"],
    [{ type: "Twalk", tag: 1, fid: 1, newfid: 2, wname: [5] }, "wname"],
    [{ type: "Twalk", tag: 1, fid: 1, newfid: 2, wname: "abc" }, "wname"],
    [{ type: "Twalk", tag: 1, fid: 1, newfid: 2 }, "wname"],
    [{ type: "Tread", tag: 1, fid: 1, offset: 5, count: 1 }, "offset"],
    [{ type: "Twrite", tag: 1, fid: 1, offset: 5n, data: [1] }, "data"],
    [{ type: "Twrite", tag: 1, fid: 1, offset: 5n }, "data"],
    [{ type: "Rwalk", tag: 1, wqid: 3 }, "wqid"],
    [{ type: "Rattach", tag: 1 }, "qid"],
  ];
  const right: Message = { type: "Tclunk", tag: 1, fid: 7 };
  for (const [message, field] of wrong) {
    assertThrows(
      () => encode(message as Message),
      TypeError,
      `: "${field}" is `,
    );
    const target = new Uint8Array(100);
    assertThrows(() => encodeInto(message as Message, target), TypeError);
    assertEquals(decode(encode(right)), right);
  }
});

/** Numbers of Linux, by `errno.h`. */
const ERRNO: [errno: number, code: string][] = [
  [1, "EPERM"],
  [2, "ENOENT"],
  [3, "ESRCH"],
  [4, "EINTR"],
  [5, "EIO"],
  [6, "ENXIO"],
  [7, "E2BIG"],
  [9, "EBADF"],
  [11, "EAGAIN"],
  [12, "ENOMEM"],
  [13, "EACCES"],
  [14, "EFAULT"],
  [15, "ENOTBLK"],
  [16, "EBUSY"],
  [17, "EEXIST"],
  [18, "EXDEV"],
  [19, "ENODEV"],
  [20, "ENOTDIR"],
  [21, "EISDIR"],
  [22, "EINVAL"],
  [23, "ENFILE"],
  [24, "EMFILE"],
  [25, "ENOTTY"],
  [26, "ETXTBSY"],
  [27, "EFBIG"],
  [28, "ENOSPC"],
  [29, "ESPIPE"],
  [30, "EROFS"],
  [31, "EMLINK"],
  [32, "EPIPE"],
  [33, "EDOM"],
  [34, "ERANGE"],
  [35, "EDEADLK"],
  [36, "ENAMETOOLONG"],
  [37, "ENOLCK"],
  [38, "ENOSYS"],
  [39, "ENOTEMPTY"],
  [40, "ELOOP"],
  [42, "ENOMSG"],
  [43, "EIDRM"],
  [61, "ENODATA"],
  [64, "ENONET"],
  [65, "ENOPKG"],
  [66, "EREMOTE"],
  [67, "ENOLINK"],
  [70, "ECOMM"],
  [71, "EPROTO"],
  [74, "EBADMSG"],
  [75, "EOVERFLOW"],
  [77, "EBADFD"],
  [86, "ESTRPIPE"],
  [87, "EUSERS"],
  [88, "ENOTSOCK"],
  [90, "EMSGSIZE"],
  [92, "ENOPROTOOPT"],
  [93, "EPROTONOSUPPORT"],
  [94, "ESOCKTNOSUPPORT"],
  [95, "EOPNOTSUPP"],
  [96, "EPFNOSUPPORT"],
  [97, "EAFNOSUPPORT"],
  [98, "EADDRINUSE"],
  [99, "EADDRNOTAVAIL"],
  [100, "ENETDOWN"],
  [101, "ENETUNREACH"],
  [102, "ENETRESET"],
  [103, "ECONNABORTED"],
  [104, "ECONNRESET"],
  [105, "ENOBUFS"],
  [106, "EISCONN"],
  [107, "ENOTCONN"],
  [108, "ESHUTDOWN"],
  [110, "ETIMEDOUT"],
  [111, "ECONNREFUSED"],
  [112, "EHOSTDOWN"],
  [113, "EHOSTUNREACH"],
  [114, "EALREADY"],
  [115, "EINPROGRESS"],
  [116, "ESTALE"],
  [120, "EISNAM"],
  [121, "EREMOTEIO"],
  [122, "EDQUOT"],
  [125, "ECANCELED"],
];

test("errnoOf() and codeOfErrno() agree with the numbers of Linux", () => {
  assertEquals(
    ERRNO.map(([, code]) => code).sort(),
    TEXTS.map(([code]) => code).sort(),
  );
  for (const [errno, code] of ERRNO) {
    assertEquals(errnoOf(code), errno, code);
    assertEquals(codeOfErrno(errno), code);
  }
  for (const code of ["", "toString", "__proto__", "enoent"]) {
    assertEquals(errnoOf(code), undefined, code);
  }
  for (const errno of [0, -2, 2.5, NaN, "2", null, undefined, 4095]) {
    assertEquals(codeOfErrno(errno), undefined, String(errno));
  }
});
