// S1 to S16: frames, malformed input, names.

import { encode, ORCLOSE, OREAD, OWRITE, type Rmessage } from "../../codec.ts";
import type { Rule } from "./rule.ts";
import { ensure, equal, fail, unhex } from "./check.ts";
import { ARENA, Random } from "./random.ts";
import { T } from "./requests.ts";
import { DIR, ROOT, type Session } from "./session.ts";
import type { Trial } from "./trial.ts";
import { describe, END, tagged } from "./wire.ts";

/** Tag of the malformed frames below: bytes `01 00`. */
const BAD_TAG = 1;
const PROBE_TAG = 2;

/** What a server may do with a malformed frame. */
interface Tolerance {
  /** True when the server may end the connection even in a strict run. */
  readonly mayClose?: boolean;
}

/**
 * Sends a malformed frame under BAD_TAG, then a valid one. A strict run expects
 * an error for the tag, and that the session goes on. Otherwise the server may
 * also drop the frame or end the connection. It must serve new connections.
 */
async function sendMalformed(
  trial: Trial,
  frame: string,
  tolerance: Tolerance = {},
): Promise<void> {
  const session = await trial.root();
  session.raw(frame);
  session.start(T.stat(ROOT), PROBE_TAG);
  const what = `the frame ${frame.slice(0, 70)}`;
  const first = await session.next(`an error for ${what}`);
  if (first === END) {
    const right = !trial.strict || tolerance.mayClose === true;
    ensure(right, `the end of the connection at ${what}`, "an error");
  } else if (first.tag === BAD_TAG) {
    session.refused(first, what, ename(frame));
    await expectProbe(session, what);
  } else {
    if (trial.strict) fail(describe(first), `an error for ${what}`);
    session.succeeded(T.stat(ROOT), first);
    await session.quiet();
  }
  session.close();
  await trial.mustServeOthers();
}

async function expectProbe(session: Session, what: string): Promise<void> {
  const probe = await session.next("Rstat");
  // A server may also end the connection after the error.
  if (probe === END && !session.strict) return;
  if (probe === END) fail(`the end after ${what}`, "that the session goes on");
  session.succeeded(T.stat(ROOT), probe);
}

/**
 * Returns the error text of this library for a malformed frame, by its type.
 */
function ename(frame: string): string {
  const type = unhex(frame)[4];
  const known = (type >= 100 && type <= 127 && type !== 106) || type === 80;
  return known || type === 81 ? "protocol botch" : "Operation not supported";
}

async function sendAllMalformed(
  trial: Trial,
  frames: readonly string[],
  tolerance?: Tolerance,
): Promise<void> {
  for (const frame of frames) await sendMalformed(trial, frame, tolerance);
}

/**
 * Fails unless the server ends the connection as soon as these bytes arrive.
 */
async function mustEnd(trial: Trial, bytes: string): Promise<void> {
  const session = await trial.root();
  const witness = await trial.root();
  session.raw(bytes);
  await session.ends();
  await witness.stat(ROOT);
  session.close();
  witness.close();
}

export const framingRules: readonly Rule[] = [
  {
    id: "S1",
    title: "A message sent one byte at a time is processed as one.",
    manual: "intro(9P)",
    async check(trial) {
      const session = await trial.root();
      const frame = encode(tagged(T.walk(ROOT, 5), 9));
      for (const byte of frame) await session.raw(Uint8Array.of(byte));
      session.succeeded(T.walk(ROOT, 5), await session.reply(9));
      await session.quiet();
      await session.stat(5);
    },
  },
  {
    id: "S2",
    title: "Two or more messages in one write are all answered.",
    manual: "intro(9P)",
    async check(trial) {
      const session = await trial.root();
      const tags = [11, 12, 13, 14, 15];
      session.send(...tags.map((tag) => tagged(T.stat(ROOT), tag)));
      for (const tag of tags) await session.done(T.stat(ROOT), tag);
      await session.quiet();
    },
  },
  {
    id: "S3",
    title: "A size below 7 ends the connection; other connections go on.",
    manual: "intro(9P)",
    async check(trial) {
      for (const size of ["00", "01", "04", "06"]) {
        await mustEnd(trial, `${size}000000 78 0100 00000000`);
      }
    },
  },
  {
    id: "S4",
    title:
      "A size above msize ends the connection, before the body is read or memory of that size is taken.",
    manual: "version(9P)",
    isAdvice: true,
    async check(trial) {
      // Only headers: a server that waits for the body never ends the
      // connection.
      for (const size of ["01200000", "00000080", "ffffffff"]) {
        await mustEnd(trial, `${size} 76 0100`);
      }
    },
  },
  {
    id: "S5",
    title:
      "A connection cut inside a message: no reply, its fids are clunked, the server goes on.",
    manual: "intro(9P)",
    async check(trial) {
      const witness = await trial.session();
      await witness.make("f");
      const session = await trial.session();
      await session.openPath("f", ORCLOSE);
      const half = encode(tagged(T.stat(ROOT), 9)).subarray(0, 9);
      session.raw(half);
      await session.closeWrite();
      await session.ends();
      await trial.eventually(
        "the removal of the ORCLOSE file of the lost connection",
        async () => !await witness.exists("f"),
      );
    },
  },
  {
    id: "S6",
    title: "A body with bytes behind its last field: error.",
    manual: "intro(9P)",
    check: (trial) =>
      sendAllMalformed(trial, [
        "0c000000 78 0100 63000000 00", // Tclunk
        "12000000 6e 0100 00000000 07000000 0000 00", // Twalk
        "18000000 68 0100 07000000 ffffffff 0100 75 0000 00000000", // a Tattach of .u
      ]),
  },
  {
    id: "S7",
    title: "A body shorter than its fields: the same as S6.",
    manual: "intro(9P)",
    check: (trial) =>
      sendAllMalformed(trial, [
        "0a000000 78 0100 000000", // Tclunk
        "07000000 7c 0100", // Tstat
        "0f000000 6e 0100 00000000 07000000", // Twalk without nwname
        "11000000 6e 0100 00000000 07000000 0100", // nwname 1, no name
        "13000000 74 0100 00000000 0000000000000000", // Tread without count
        "0b000000 7e 0100 00000000", // Twstat without a record
      ]),
  },
  {
    id: "S8",
    title:
      "A text whose length goes past the end of the message: the same as S6.",
    manual: "intro(9P)",
    check: (trial) =>
      sendAllMalformed(trial, [
        "15000000 6e 0100 00000000 07000000 0100 0500 6162",
        "13000000 6e 0100 00000000 07000000 0100 ffff",
        "13000000 72 0100 00000000 c800 66 00000000 00",
        "12000000 68 0100 07000000 ffffffff 6400 75",
      ]),
  },
  {
    id: "S9",
    title:
      "A Twrite whose count differs from the bytes present: the same as S6.",
    manual: "read(9P)",
    check: (trial) =>
      sendAllMalformed(trial, [
        "1b000000 76 0100 00000000 0000000000000000 05000000 61626364",
        "1b000000 76 0100 00000000 0000000000000000 03000000 61626364",
        "1b000000 76 0100 00000000 0000000000000000 ffffffff 61626364",
      ]),
  },
  {
    id: "S10",
    title: "An unknown type: error with the same tag.",
    manual: "intro(9P)",
    check: (trial) =>
      sendAllMalformed(
        trial,
        ["00", "01", "05", "61", "80", "c8", "ff"]
          .map((type) => `07000000 ${type} 0100`),
      ),
  },
  {
    id: "S11",
    title:
      "An R-message, or 106, from a client: error or close; never a crash, never a reply of another kind.",
    manual: "intro(9P)",
    check: (trial) =>
      sendAllMalformed(trial, [
        "0a000000 6a 0100 0100 78", // 106
        "13000000 65 0100 00200000 0600 395032303030", // Rversion
        "0c000000 6b 0100 0300 626f6f", // Rerror
        "09000000 6f 0100 0000", // Rwalk
        "0b000000 75 0100 00000000", // Rread
        "07000000 79 0100", // Rclunk
      ], { mayClose: true }),
  },
  {
    id: "S12",
    title: "Bytes that are not UTF-8 in a name: error.",
    manual: "intro(9P)",
    async check(trial) {
      await sendAllMalformed(trial, [
        "15000000 6e 0100 00000000 07000000 0100 0200 fffe",
        "15000000 6e 0100 00000000 07000000 0100 0200 c0af", // an overlong slash
        "16000000 6e 0100 00000000 07000000 0100 0300 eda080", // half a pair
      ]);
      await sendMalformedCreate(trial, "0100 c3"); // the first half of a character
    },
  },
  {
    id: "S13",
    title: "A NUL in a text: error.",
    manual: "intro(9P)",
    async check(trial) {
      await sendMalformed(
        trial,
        "16000000 6e 0100 00000000 07000000 0100 0300 610062",
      );
      await sendMalformed(
        trial,
        "16000000 68 0100 07000000 ffffffff 0300 750061 0000",
      );
      await sendMalformedCreate(trial, "0200 6100");
    },
  },
  {
    id: "S14",
    title: "nwname 17: error; fids unchanged.",
    manual: "walk(9P)",
    async check(trial) {
      const names = "0200 2e2e".repeat(17);
      const frame = `55000000 6e 0100 00000000 07000000 1100 ${names}`;
      await sendMalformed(trial, frame);
      const session = await trial.root();
      session.raw(frame);
      session.start(T.stat(7), PROBE_TAG);
      const replies: Rmessage[] = [];
      while (replies.at(-1)?.tag !== PROBE_TAG) {
        const reply = await session.next("an error for fid 7");
        if (reply === END) return;
        replies.push(reply);
      }
      session.refused(
        replies[replies.length - 1],
        "Tstat",
        "fid unknown or out of range",
      );
    },
  },
  {
    id: "S15",
    title:
      "Random and mutated messages for a minute: no crash, no growth of memory beyond the limits, other connections served.",
    manual: "intro(9P)",
    async check(trial) {
      const random = new Random(trial.seed);
      const witness = await trial.session();
      await witness.make("witness", { data: "unharmed" });
      const end = Date.now() + trial.randomTime;
      for (let round = 1; Date.now() < end; round++) {
        const arena = `arena${round % 10}`;
        if (!await witness.exists(arena)) await witness.mkdir(arena);
        const session = await trial.session();
        // No fid leads out of the arena, so the messages harm no other file.
        await session.walk(DIR, ARENA, arena);
        await session.clunk(DIR);
        await session.clunk(ROOT);
        await random.sendRound(session);
        session.close();
        const content = await witness.content("witness");
        equal(content, "unharmed", `after round ${round}, the witness`);
      }
      await trial.mustServeOthers();
    },
  },
  {
    id: "S16",
    title:
      "Names of 1-, 2-, 3- and 4-byte code points come back unchanged from create, walk, stat and directory reads; lengths are bytes.",
    manual: "intro(9P)",
    async check(trial) {
      const session = await trial.session();
      const names = ["a", "é", "€", "𝄞", "e\u0301", "aé€𝄞".repeat(8)];
      for (const name of names) {
        await session.make(name, { data: name });
        const stat = await session.statOf(name);
        equal(stat.name, name, "the name in Rstat");
        equal(await session.content(name), name, "the content");
      }
      equal(await session.names(""), names.toSorted(), "the names listed");
      const fid = await session.openPath("𝄞", OREAD);
      const rstat = await session.do(T.stat(fid));
      const frame = session.frameOf(rstat);
      // The name follows size, type, tag, n[2] and 41 bytes of fixed fields.
      equal(frame.subarray(50, 56), unhex("0400 f09d849e"), "the name's bytes");
    },
  },
];

/**
 * Sends a Tcreate whose name is no legal text. Fails when the server makes a
 * file.
 */
async function sendMalformedCreate(trial: Trial, name: string): Promise<void> {
  const session = await trial.session();
  const body = unhex(`72 0100 01000000 ${name} a4010000 0${OWRITE}`);
  session.raw(Uint8Array.of(body.length + 4, 0, 0, 0, ...body));
  session.start(T.stat(ROOT), PROBE_TAG);
  const reply = await session.next("an error for the Tcreate");
  if (reply !== END && reply.tag === BAD_TAG) {
    session.refused(reply, "Tcreate", "protocol botch");
  } else if (trial.strict) {
    fail(describe(reply), "an error for the Tcreate");
  }
  session.close();
  const after = await trial.session();
  equal(await after.names(""), [], "the names listed");
}
