// S78 to S84: writes, and reads that block.

import { DMAPPEND, OEXEC, ORDWR, OREAD, OTRUNC, OWRITE } from "../../codec.ts";
import type { Rule } from "./rule.ts";
import { ensure, equal, fail, mustDiffer } from "./check.ts";
import { makeKind } from "./open.ts";
import { T } from "./requests.ts";
import { DIR, ROOT } from "./session.ts";
import { describe, END } from "./wire.ts";

export const writeRules: readonly Rule[] = [
  {
    id: "S78",
    title:
      "Twrite on a fid that is not open, or open with OREAD or OEXEC, or on a directory: error.",
    manual: "read(9P)",
    async check(trial) {
      const session = await trial.session();
      await session.make("f", { data: "text", perm: 0o755 });
      const badUse = "bad use of fid";
      const closed = await session.ask(T.write(await session.walkTo("f"), "x"));
      const opensImplicitly = closed !== END && closed.type === "Rwrite";
      if (trial.strict || !opensImplicitly) {
        session.refused(closed, "Twrite, fid not open", badUse);
      }
      const before = await session.content("f");
      for (const mode of [OREAD, OEXEC]) {
        const fid = await session.openPath("f", mode);
        await session.refuses(T.write(fid, "x"), badUse);
      }
      await session.refuses(T.write(await session.openPath(""), "x"), badUse);
      await session.refuses(T.write(await session.walkTo(""), "x"), badUse);
      equal(await session.content("f"), before, "the content");
    },
  },
  {
    id: "S79",
    title:
      "Append-only: data go to the end whatever the offset; two writers never overlap.",
    manual: "open(9P)",
    async check(trial) {
      const session = await trial.session();
      await makeKind(session, "log", DMAPPEND, "start ");
      const other = await trial.session();
      const here = await session.openPath("log", ORDWR);
      const there = await other.openPath("log", OWRITE);
      let wanted = "start ";
      for (let i = 0; i < 8; i++) {
        await session.write(here, `a${i} `, i % 2 * 1000);
        await other.write(there, `b${i} `, 0);
        wanted += `a${i} b${i} `;
      }
      equal(await session.text(here), wanted, "the content");
      const writes = Array.from({ length: 50 }, (_, i) => {
        const ours = T.write(here, `c${i} `);
        const theirs = T.write(there, `d${i} `);
        const tags = [session.start(ours), other.start(theirs)];
        return async () => {
          await session.done(ours, tags[0]);
          await other.done(theirs, tags[1]);
        };
      });
      for (const written of writes) await written();
      const words = (await session.text(here)).trim().split(" ");
      equal(words.length, 1 + 16 + 100, "the number of words");
      equal(new Set(words).size, words.length, "the number of different words");
    },
  },
  {
    id: "S80",
    title:
      "Twrite past the end fills with zeros; a limit of size gives an error and changes nothing.",
    manual: "read(9P)",
    async check(trial) {
      const session = await trial.session();
      await session.make("f");
      const fid = await session.openPath("f", ORDWR);
      await session.write(fid, "abcdef");
      await session.write(fid, "end", 10);
      equal(await session.text(fid), "abcdef\0\0\0\0end", "the content");
      // Truncated bytes must not reappear.
      await session.open(await session.walkTo("f"), OWRITE | OTRUNC);
      await session.write(fid, "ab");
      await session.write(fid, "end", 6);
      equal(
        await session.text(fid),
        "ab\0\0\0\0end",
        "the content after a cut",
      );
      const before = await session.stat(fid);
      for (
        const offset of [2n ** 62n, 2n ** 63n - 1n, 2n ** 63n, 2n ** 64n - 1n]
      ) {
        const reply = await session.ask(T.write(fid, "xy", offset));
        if (!trial.strict && reply !== END && reply.type === "Rwrite") {
          const { length } = await session.stat(fid);
          equal(length, offset + 2n, `the length after a write at ${offset}`);
          await session.wstat(fid, { length: before.length });
          continue;
        }
        const ename = offset < 2n ** 63n ? "file too big" : undefined;
        session.refused(reply, `Twrite at ${offset}`, ename);
        const after = await session.stat(fid);
        equal(after.length, before.length, "the length");
      }
      equal(await session.text(fid), "ab\0\0\0\0end", "the content");
    },
  },
  {
    id: "S81",
    title: "Twrite of 0 bytes: Rwrite 0.",
    manual: "read(9P)",
    async check(trial) {
      const session = await trial.session();
      await session.make("f", { data: "text" });
      const fid = await session.openPath("f", OWRITE);
      const { vers } = (await session.stat(fid)).qid;
      for (const offset of [0, 4, 100]) await session.write(fid, "", offset);
      const stat = await session.stat(fid);
      equal(stat.length, 4n, "the length");
      if (trial.strict) equal(stat.qid.vers, vers, "qid.version");
      equal(await session.content("f"), "text", "the content");
    },
  },
  {
    id: "S82",
    title:
      "Rwrite count is at most the request's; length, mtime, muid, qid.version follow.",
    manual: "stat(9P)",
    async check(trial) {
      const session = await trial.session();
      await session.make("f", { perm: 0o666 });
      const guest = await trial.guest(0);
      const fid = await session.walkTo("f");
      const writer = await guest.openPath("f", OWRITE);
      for (const data of ["text", "more text"]) {
        const { before, isOld } = await session.age(fid);
        const { count } = await guest.do(T.write(writer, data));
        ensure(
          count <= data.length,
          `count ${count}`,
          `at most ${data.length}`,
        );
        const after = await session.stat(fid);
        equal(after.length, BigInt(count), "the length");
        if (isOld) mustDiffer(after.mtime, before.mtime, "mtime");
        mustDiffer(after.qid.vers, before.qid.vers, "qid.version");
        equal(after.muid, trial.users[0], "muid");
      }
    },
  },
  {
    id: "S83",
    title:
      "A read that blocks does not delay other tags, of this or another connection.",
    manual: "intro(9P)",
    async check(trial) {
      const session = await trial.session();
      const blocked = await trial.block(session);
      await session.make("f", { data: "text" });
      equal(await session.content("f"), "text", "the content");
      await session.quiet(); // The read really blocks.
      const other = await trial.session();
      equal(await other.content("f"), "text", "the content, elsewhere");
      await session.stat(ROOT);
      const reply = T.read(0);
      if (await trial.release()) await session.done(reply, blocked);
    },
  },
  {
    id: "S84",
    title:
      "Permissions count at open only: a chmod to 0 does not stop an open fid.",
    manual: "open(9P)",
    async check(trial) {
      const session = await trial.session();
      await session.make("f", { data: "text" });
      const fid = await session.openPath("f", ORDWR);
      await session.chmod("f", 0);
      equal(await session.text(fid), "text", "what the open fid reads");
      await session.write(fid, "more");
      equal(await session.text(fid), "more", "what it reads");
      const dir = await session.walkTo("");
      await session.open(dir);
      const { mode } = await session.stat(dir);
      await session.setMode(DIR, (mode & ~0o777) >>> 0);
      const read = await session.ask(T.read(dir));
      await session.wstat(DIR, { mode });
      if (read === END || read.type !== "Rread") fail(describe(read), "Rread");
    },
  },
];
