// What can be chosen for a session, and what is chosen where nothing is said.

import { MSIZE_DEFAULT, MSIZE_MIN, ProtocolError } from "../codec.ts";

/** Options of a session. */
export interface SessionOptions {
  /** Largest message in bytes, 256 or more; 1 MiB and 24 bytes by default. */
  msize?: number;
  /** Refuse what the manual refuses although usual clients do it: walks from open fids, undefined mode bits. False by default. */
  strict?: boolean;
  /** Open a file at the first read, write or call of a fid that is not open; function files always do. False by default. */
  implicitOpen?: boolean;
  /** Form of error texts: `json` for servers whose clients are pyroute2's; `text` by default. A failed call is always JSON. */
  errors?: "text" | "json";
  /** Told of errors that a client must not see: what handlers throw that is no NinePError, and connections that die (as ProtocolError). By default the former go to the console. */
  onError?: (error: unknown) => void;
}

/** The options with their defaults. */
export interface SessionSettings {
  readonly msize: number;
  readonly strict: boolean;
  readonly implicitOpen: boolean;
  readonly errors: "text" | "json";
  readonly onError: (error: unknown) => void;
}

/** Adds the defaults; throws a RangeError for what cannot be. */
export function settingsOf(options: SessionOptions): SessionSettings {
  const {
    msize = MSIZE_DEFAULT,
    strict = false,
    implicitOpen = false,
    errors = "text",
    onError = reportInternal,
  } = options;
  if (!(Number.isInteger(msize) && msize >= MSIZE_MIN && msize <= 0xffffffff)) {
    throw new RangeError(
      `Cannot serve with an msize of ${msize}: the range is ${MSIZE_MIN} to 4294967295`,
    );
  }
  return { msize, strict, implicitOpen, errors, onError };
}

/** What no client may see, somebody should; that a client went away is no news. */
function reportInternal(error: unknown): void {
  if (!(error instanceof ProtocolError)) console.error(error);
}
