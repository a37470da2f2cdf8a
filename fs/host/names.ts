// Checks names of files of a host directory.

import { isName } from "../../codec.ts";
import { utf8Length } from "../../codec/wire.ts";

/** Most bytes of a name. */
export const NAME_MAX = 255;

/**
 * The character that the runtimes put in place of bytes that are not UTF-8.
 * Names on Linux are bytes, so two such names may look the same, and no file
 * can be opened by such a name.
 */
const REPLACEMENT = "\uFFFD";

/** Names that Windows keeps for devices, with any extension. */
const DEVICES =
  /^(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³]|conin\$|conout\$)\s*(\.|:|$)/i;

/**
 * Characters that a name must not contain on Windows: separators, streams,
 * patterns, control characters.
 */
// deno-lint-ignore no-control-regex -- those of names
const UNUSABLE = /[\\/:*?"<>|\0-\x1f]|[. ]$/;

/**
 * Returns true when a directory of the host can have a member of this name, and
 * the name cannot mean anything else.
 *
 * @param name The name.
 * @param platform Operating system of the host: the value of
 *   `process.platform`.
 */
export function isHostName(name: string, platform: string): boolean {
  if (!isName(name) || name.includes("\0") || !name.isWellFormed()) {
    return false;
  }
  if (name.includes(REPLACEMENT)) return false;
  return platform !== "win32" || !(UNUSABLE.test(name) || DEVICES.test(name));
}

/** Tells whether a name is too long for the host. */
export function isTooLong(name: string): boolean {
  return utf8Length(name) > NAME_MAX;
}
