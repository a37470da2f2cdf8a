// Opens files to append, and finds the offset of an append.

import { NinePError, OAPPEND } from "../../codec.ts";
import type { ClientSession, OpenFid } from "../connection/client_session.ts";
import { hasCode } from "../operation.ts";

/** Returns the offset to append at, as far as the client knows. */
export async function endOfFile(
  { session, fid }: OpenFid,
  signal: AbortSignal | undefined,
): Promise<number> {
  return Number((await session.stat(fid, signal)).length);
}

/**
 * Opens a file for appending, with OAPPEND if the server accepts this bit. With
 * it, each write goes to the end, also when other clients append.
 *
 * @param open Sends the Topen or Tcreate with a mode.
 */
export async function openToAppend(
  { traits }: ClientSession,
  mode: number,
  open: (mode: number) => Promise<OpenFid>,
): Promise<OpenFid> {
  const plain = mode & ~OAPPEND;
  if (!traits.appendMode) return await open(plain);
  try {
    return await open(mode);
  } catch (error) {
    // These errors are about the file. Any other error may be about the bit.
    const isOther = ["EACCES", "EEXIST", "ENOENT"].some((code) =>
      hasCode(error, code)
    );
    if (isOther || !(error instanceof NinePError)) throw error;
  }
  return await open(plain);
}
