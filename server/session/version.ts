// Selects the dialect of a session.

import { type Dialect, dialect9P2000 } from "../../codec.ts";

/**
 * Returns the dialect for the version of a client: the dialect of that name, or
 * plain 9P2000 for other versions from 9P2000 on. Returns undefined for any
 * other version. See `version(9P)`.
 */
export function dialectFor(version: string): Dialect | undefined {
  const spoken = DIALECTS.find((dialect) => dialect.version === version);
  if (spoken !== undefined) return spoken;
  const base = version.split(".", 1)[0];
  const isLater = /^9P[0-9]+$/.test(base) && Number(base.slice(2)) >= 2000;
  return isLater ? dialect9P2000 : undefined;
}

/** The dialects that servers speak. */
const DIALECTS: readonly Dialect[] = [dialect9P2000];
