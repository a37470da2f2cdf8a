// The names that a host directory takes and gives.

import { isName } from "../../codec.ts";
import { utf8Length } from "../../codec/wire.ts";

/** Most bytes of a name. */
export const NAME_MAX = 255;

/**
 * The character that the runtimes give for bytes that are no UTF-8. Names of
 * Linux are bytes, so two such names may look the same, and neither leads back
 * to its file.
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
 * Tells whether a directory of the host can have a member of that name, and the name
 * leads to nothing else.
 *
 * @param name The name.
 * @param platform The host's operating system, as `process.platform` tells it.
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
