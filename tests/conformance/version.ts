// S17 to S26: the start of a session, and its msize.

import { NOTAG, ORCLOSE, OREAD, QTDIR } from "../../codec.ts";
import type { Rule } from "./rule.ts";
import { ensure, equal, fail } from "./check.ts";
import { type Request, T } from "./requests.ts";
import { DIR, ROOT, type Session } from "./session.ts";
import type { Trial } from "./trial.ts";
import { describe, END, type ReplyOrEnd } from "./wire.ts";

/** Sends a Tversion and returns any reply. */
async function askVersion(
  session: Session,
  msize: number,
  version = "9P2000",
): Promise<ReplyOrEnd> {
  session.start(T.version(msize, version), NOTAG);
  return await session.reply(NOTAG, "Rversion");
}

/** Returns the msize that a server chooses for a requested msize. */
async function msizeFor(trial: Trial, msize: number): Promise<number> {
  const session = await trial.connect();
  const reply = await session.version(msize);
  session.close();
  return reply.msize;
}

export const versionRules: readonly Rule[] = [
  {
    id: "S17",
    title: "Any request before Tversion: error or close; no effect.",
    manual: "version(9P)",
    async check(trial) {
      const requests: Request[] = [
        T.attach(ROOT, trial.uname, trial.aname),
        T.auth(5, trial.uname, trial.aname),
        T.walk(ROOT, 5),
        T.open(ROOT),
        T.read(ROOT),
        T.stat(ROOT),
        T.clunk(ROOT),
      ];
      for (const request of requests) {
        const session = await trial.connect();
        const event = await session.ask(request);
        if (event !== END) {
          session.refused(event, request.type, "protocol botch");
          await session.version();
          await session.mustBeUnknown(ROOT);
          await trial.attach(session, ROOT, trial.uname);
        }
        session.close();
      }
    },
  },
  {
    id: "S18",
    title:
      "Rversion msize is at most the client's and at most the server's maximum; a larger request gives the maximum.",
    manual: "version(9P)",
    async check(trial) {
      for (const msize of [4096, 8192, 65536]) {
        const got = await msizeFor(trial, msize);
        ensure(got <= msize, `msize ${got}`, `at most the ${msize} asked for`);
      }
      const most = await msizeFor(trial, 0xffffffff);
      if (most === 0xffffffff) return; // There is no larger msize to ask for.
      equal(await msizeFor(trial, most), most, "msize at the maximum");
      equal(await msizeFor(trial, most + 1), most, "msize above the maximum");
      const below = await msizeFor(trial, most - 1);
      ensure(below < most, `msize ${below}`, `at most ${most - 1}`);
    },
  },
  {
    id: "S19",
    title:
      "msize 0, or below the server's minimum: error or close; the server does not go on with it.",
    manual: "version(9P)",
    async check(trial) {
      const sizes = trial.strict ? [0, 6, 24, 255] : [0, 6];
      for (const msize of sizes) {
        const session = await trial.connect();
        const event = await askVersion(session, msize);
        if (event !== END) {
          session.refused(event, `Tversion msize ${msize}`, "Invalid argument");
          const attach = T.attach(ROOT, trial.uname, trial.aname);
          const next = await session.ask(attach);
          if (next !== END) session.refused(next, "Tattach", "protocol botch");
        } else if (trial.strict) {
          fail(describe(event), `an error for msize ${msize}`);
        }
        session.close();
      }
      if (trial.strict) equal(await msizeFor(trial, 256), 256, "msize");
    },
  },
  {
    id: "S20",
    title:
      "`9P2000.u`, `9P2000.L`, `9P2000.xyz` are answered `9P2000` by a server (or configuration) without them.",
    manual: "version(9P)",
    async check(trial) {
      const dialects = ["9P2000.u", "9P2000.L"];
      const unknown = trial.strict ? ["9P2001", "9P2001.x"] : [];
      for (const asked of [...dialects, "9P2000.xyz", ...unknown]) {
        const session = await trial.connect();
        const { version } = await session.version(8192, asked);
        // A server that speaks the dialect is right as well.
        if (!dialects.includes(asked) || version !== asked) {
          equal(version, "9P2000", `the answer to "${asked}"`);
          await trial.attach(session, ROOT, trial.uname);
        }
        session.close();
      }
    },
  },
  {
    id: "S21",
    title:
      "`9P1999`, `foo` and the empty string are answered Rversion `unknown`, not an error.",
    manual: "version(9P)",
    async check(trial) {
      for (const asked of ["9P1999", "foo", ""]) {
        const session = await trial.connect();
        const { version } = await session.version(8192, asked);
        equal(version, "unknown", `the answer to "${asked}"`);
        session.close();
      }
    },
  },
  {
    id: "S22",
    title: "Rversion has the request's tag, NOTAG normally.",
    manual: "version(9P)",
    async check(trial) {
      for (const tag of [NOTAG, 0, 5]) {
        const session = await trial.connect();
        session.start(T.version(), tag);
        const reply = session.succeeded(T.version(), await session.next());
        equal(reply.tag, tag, "the tag of Rversion");
        session.close();
      }
    },
  },
  {
    id: "S23",
    title:
      "A second Tversion frees all fids: the old ones are unknown, their numbers usable.",
    manual: "version(9P)",
    async check(trial) {
      const session = await trial.session();
      await session.make("f");
      await session.walk(DIR, 7, "f");
      await session.open(7);
      await session.make("closing");
      await session.openPath("closing", ORCLOSE);
      await session.version();
      for (const fid of [ROOT, DIR, 7]) await session.mustBeUnknown(fid);
      const { qid } = await trial.attach(session, 7, trial.uname);
      equal(qid.type & QTDIR, QTDIR, "QTDIR of fid 7");
      await session.walk(7, DIR, ...trial.path, "f");
      await session.open(DIR);
      if (!trial.strict) return;
      // The Tversion clunks the fids, so an ORCLOSE file is removed.
      await session.walk(7, 8, ...trial.path);
      equal(await session.exists("closing", 8), false, "an ORCLOSE file");
    },
  },
  {
    id: "S24",
    title:
      "It also aborts outstanding requests: no reply with an old tag comes after the Rversion.",
    manual: "version(9P)",
    async check(trial) {
      const session = await trial.session();
      await session.make("f", { data: "text" });
      const fid = await session.openPath("f");
      for (let i = 0; i < 20; i++) session.start(T.read(fid), 1000 + i);
      if (await trial.has(session, "block")) await trial.block(session, 1999);
      await session.version();
      // Replies before the Rversion are legal; later ones are not.
      session.discard();
      await trial.release();
      await trial.attach(session, ROOT, trial.uname);
      await session.stat(ROOT);
      await session.quiet();
    },
  },
  {
    id: "S25",
    title:
      "No reply is longer than msize: long Rerror texts are cut at a UTF-8 border, an Rstat that does not fit is an error.",
    manual: "version(9P)",
    async check(trial) {
      const long = await trial.session();
      const name = "n".repeat(200);
      await long.make(name);
      await long.make("f");
      const session = await trial.session({ msize: 256 });
      // Every receive checks that no frame is above msize.
      const fits = session.frameOf(
        await session.do(T.stat(await session.walkTo("f"))),
      );
      if (fits.length - "f".length + name.length > session.msize) {
        await session.refuses(T.stat(await session.walkTo(name)));
        const dir = await session.openPath("");
        await session.ask(T.read(dir, 0, 200));
      }
      const missing = "€𝄞".repeat(30);
      for (
        const request of [
          T.walk(ROOT, 9, missing),
          T.attach(9, trial.uname, missing),
          T.walk(ROOT, ROOT, "é".repeat(100)),
        ]
      ) {
        const event = await session.ask(request);
        if (event === END) fail(describe(event), "an error");
        if (event.type !== "Rerror") continue; // The server accepts any aname.
        checkText(session.frameOf(event).subarray(9));
      }
    },
  },
  {
    id: "S26",
    title:
      "A Tread count above msize - 11 gives a short read; no error, no longer frame.",
    manual: "read(9P)",
    async check(trial) {
      const writer = await trial.session();
      await writer.make("f", { data: "x".repeat(4000) });
      const msize = 1024;
      const session = await trial.session({ msize });
      const most = session.msize - 11;
      const fid = await session.openPath("f");
      for (const count of [most + 1, msize, 8192, 0x7fffffff, 0xffffffff]) {
        const { length } = await session.read(fid, 0, count);
        ensure(
          length > 0 && length <= most,
          `${length} bytes for a count of ${count}`,
          `1 to ${most}`,
        );
      }
      const dir = await session.openPath("", OREAD);
      await session.read(dir, 0, 0xffffffff);
    },
  },
];

/** Fails unless the bytes of an error text are whole characters. */
function checkText(bytes: Uint8Array): void {
  try {
    new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    fail("an error text that ends inside a character", "whole characters");
  }
}
