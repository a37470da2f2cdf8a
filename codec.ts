/**
 * The wire: constants, messages, stat records, encoding and decoding, frames,
 * and the error classes. It knows no connection and no runtime.
 *
 * @example A message to bytes and back
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { decode, encode, NOTAG } from "@ninep/ninep/codec";
 *
 * const frame = encode({
 *   type: "Tversion",
 *   tag: NOTAG,
 *   msize: 8192,
 *   version: "9P2000",
 * });
 * const message = decode(frame);
 * assertEquals(message.type, "Tversion");
 * ```
 *
 * @module
 */

export {
  type ErrorEnvelope,
  FunctionError,
  type FunctionErrorOptions,
  Plan9Exit,
} from "./codec/call.ts";
export * from "./codec/constants.ts";
export { codeOf, enameOf } from "./codec/error_table.ts";
export {
  NinePError,
  type NinePErrorOptions,
  ProtocolError,
  type ProtocolErrorOptions,
} from "./codec/errors.ts";
export { formatMessage, printable } from "./codec/format.ts";
export {
  FrameSplitter,
  readMessages,
  type ReadMessagesOptions,
  writeMessage,
  type WriteMessageOptions,
} from "./codec/frames.ts";
export {
  decode,
  type Dialect,
  dialect9P2000,
  type DialectField,
  type DialectRow,
  encode,
  encodeInto,
  type EncodeIntoOptions,
  isRmessage,
  isTmessage,
} from "./codec/layout.ts";
export type * from "./codec/messages.ts";
export {
  changesOf,
  decodeDir,
  decodeDirNames,
  type DecodeDirNamesOptions,
  decodeStat,
  dontTouch,
  encodeDir,
  encodeStat,
  isName,
  type Stat,
} from "./codec/stat.ts";
