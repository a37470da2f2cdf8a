// Checks the names that a client gives to files.

import { isName, NinePError } from "../../../codec.ts";
import { utf8Length } from "../../../codec/wire.ts";

/** Throws for an illegal name, and for a name of more than `most` bytes. */
export function checkName(name: string, most: number): void {
  if (!isName(name)) throw new NinePError("illegal name");
  if (utf8Length(name) > most) throw new NinePError("File name too long");
}
