// Which dialect a session speaks.

import { type Dialect, dialect9P2000 } from "../../codec.ts";

/** The dialect of a session, by the client's version: its own, or the plain one. See `version(9P)`. */
export function dialectFor(version: string): Dialect | undefined {
  const spoken = DIALECTS.find((dialect) => dialect.version === version);
  if (spoken !== undefined) return spoken;
  const base = version.split(".", 1)[0];
  const isLater = /^9P[0-9]+$/.test(base) && Number(base.slice(2)) >= 2000;
  return isLater ? dialect9P2000 : undefined;
}

/** What servers speak. */
const DIALECTS: readonly Dialect[] = [dialect9P2000];
