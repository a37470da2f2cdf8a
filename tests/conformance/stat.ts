// S93 to S105: attributes, and changes of them.

import {
  decodeStat,
  DMAPPEND,
  DMDIR,
  DMEXCL,
  encodeStat,
  ORDWR,
  OREAD,
  type Stat,
} from "../../codec.ts";
import type { Rule } from "./rule.ts";
import { ensure, equal, equalStats, fail, skip } from "./check.ts";
import { T } from "./requests.ts";
import { DIR, ROOT, type Session } from "./session.ts";
import { END } from "./wire.ts";

const DENIED = "permission denied";
const PROHIBITED = "wstat prohibited";
const NOT_OWNER = "not owner";
const ILLEGAL_NAME = "illegal name";
const KIND = "wstat can't convert between files and directories";

/** Fails unless the server refuses a change and leaves the file unchanged. */
async function isRefused(
  session: Session,
  fid: number,
  changes: Partial<Stat>,
  ename?: string,
): Promise<void> {
  const before = await session.stat(fid);
  const reply = await session.ask(T.wstat(fid, changes));
  session.refused(reply, `Twstat of ${Object.keys(changes).join(", ")}`, ename);
  const what = "the attributes after a refused Twstat";
  equalStats(await session.stat(fid), before, what);
}

/** Skips the case when the server does not support Twstat. */
async function needsWstat(session: Session): Promise<void> {
  if (!await session.hasWstat()) skip("no Twstat here");
}

export const statRules: readonly Rule[] = [
  {
    id: "S93",
    title:
      "Rstat is n[2], then the record with size[2] = n - 2; the name is `/` for the root.",
    manual: "stat(9P)",
    async check(trial) {
      const session = await trial.session();
      await session.make("file");
      for (const fid of [ROOT, DIR, await session.walkTo("file")]) {
        const reply = await session.do(T.stat(fid));
        const frame = session.frameOf(reply);
        const view = new DataView(frame.buffer, frame.byteOffset);
        equal(view.getUint16(7, true), frame.length - 9, "n");
        equal(view.getUint16(9, true), frame.length - 11, "the record's size");
        equal(frame.subarray(9), encodeStat(reply.stat), "the record");
        equal(decodeStat(frame.subarray(9)), reply.stat, "the record");
      }
      equal((await session.stat(ROOT)).name, "/", "the root's name");
      equal((await session.stat(DIR)).name, trial.directory, "the name");
    },
  },
  {
    id: "S94",
    title: "The top byte of mode equals qid.type.",
    manual: "stat(9P)",
    async check(trial) {
      const session = await trial.session();
      const check = async (fid: number, what: string) => {
        const { mode, qid } = await session.stat(fid);
        equal(mode >>> 24, qid.type, `of ${what}, the top byte of mode`);
      };
      await session.make("f");
      await check(ROOT, "the root");
      await check(await session.walkTo("f"), "a file");
      for (const bit of [DMDIR, DMAPPEND, DMEXCL]) {
        const fid = await session.walkTo("");
        const create = T.create(fid, `x${bit}`, bit + 0o644, OREAD);
        const made = await session.attempt(create);
        if (typeof made === "string") continue;
        await check(fid, `a file made with 0x${bit.toString(16)}`);
        const { qid, mode } = await session.stat(fid);
        equal(made.qid.type, qid.type, "the qid's type in Rcreate");
        if (bit === DMDIR) continue;
        await session.attempt(T.wstat(fid, { mode: mode & 0o777 }));
        await check(fid, "a file whose bits were taken away");
      }
    },
  },
  {
    id: "S95",
    title: "The length of a directory is 0.",
    manual: "stat(9P)",
    async check(trial) {
      const session = await trial.session();
      await session.make("f", { data: "text" });
      equal((await session.stat(ROOT)).length, 0n, "the root's length");
      equal((await session.stat(DIR)).length, 0n, "the directory's length");
      const [member] = await session.list(await session.openPath(""));
      equal(member.length, 4n, "a file's length in the listing");
    },
  },
  {
    id: "S96",
    title: "Twstat of nothing but don't-touch: Rwstat, nothing changed.",
    manual: "stat(9P)",
    async check(trial) {
      const session = await trial.session();
      await needsWstat(session);
      await session.make("f", { data: "text", perm: 0o444 });
      const open = await session.openPath("f");
      for (const fid of [open, await session.walkTo("f"), DIR]) {
        const before = await session.stat(fid);
        await session.wstat(fid, {});
        equalStats(await session.stat(fid), before, "the attributes");
      }
      // Every user may send it: it asks for stable storage, not for a change.
      const guest = await trial.guest(0);
      await guest.wstat(await guest.walkTo("f"), {});
    },
  },
  {
    id: "S97",
    title:
      "Twstat of length cuts and extends (with zeros); on a directory a length other than 0 is an error; needs write permission.",
    manual: "stat(9P)",
    async check(trial) {
      const session = await trial.session();
      await needsWstat(session);
      await session.make("f", { data: "abcdef" });
      const fid = await session.walkTo("f");
      const { vers } = (await session.stat(fid)).qid;
      await session.wstat(fid, { length: 3n });
      equal(await session.content("f"), "abc", "the content, cut");
      await session.wstat(fid, { length: 6n });
      equal(await session.content("f"), "abc\0\0\0", "the content, extended");
      const after = await session.stat(fid);
      equal(after.length, 6n, "the length");
      ensure(after.qid.vers !== vers, `qid.version ${vers} still`, "another");
      await session.wstat(fid, { length: 0n });
      equal(await session.content("f"), "", "the content");
      await isRefused(session, DIR, { length: 1n }, "Is a directory");
      await session.chmod("f", 0o444);
      await isRefused(session, fid, { length: 1n }, DENIED);
      await session.chmod("f", 0o664);
      const guest = await trial.guest(1);
      await isRefused(guest, await guest.walkTo("f"), { length: 1n }, DENIED);
      await session.chmod("f", 0o666);
      await guest.wstat(await guest.walkTo("f"), { length: 1n });
      equal(await session.content("f"), "\0", "the content");
    },
  },
  {
    id: "S98",
    title:
      "Twstat of a name that another file has: error, nothing changed. A rename keeps qid.path and open fids.",
    manual: "stat(9P)",
    async check(trial) {
      const session = await trial.session();
      await needsWstat(session);
      const qid = await session.make("f", { data: "text" });
      await session.make("g", { data: "other" });
      await session.mkdir("d");
      await session.make("d/x");
      const fid = await session.walkTo("f");
      for (const name of ["g", "d"]) {
        await isRefused(session, fid, { name }, "file already exists");
      }
      equal(await session.content("g"), "other", "the other file");
      const open = await session.openPath("f", ORDWR);
      await session.wstat(fid, { name: "f" }); // The present name: no change.
      await session.wstat(fid, { name: "new" });
      equal(await session.names(""), ["d", "g", "new"], "the names");
      await session.standsFor(open, qid, "the open fid");
      equal((await session.stat(open)).name, "new", "the open fid's name");
      equal(await session.text(open), "text", "what the open fid reads");
      await session.write(open, "more");
      equal(await session.content("new"), "more", "the content");
      equal((await session.statOf("new")).qid.path, qid.path, "qid.path");
      const inside = await session.openPath("d/x", ORDWR);
      await session.wstat(await session.walkTo("d"), { name: "e" });
      await session.write(inside, "in e");
      equal(
        await session.content("e/x"),
        "in e",
        "a file in a renamed directory",
      );
      const root = T.wstat(ROOT, { name: "r" });
      await session.refuses(root, "cannot remove root");
      await session.chmod("e", DMDIR + 0o555);
      await isRefused(session, inside, { name: "y" }, DENIED);
    },
  },
  {
    id: "S99",
    title:
      "Twstat of name `.`, `..`, `a/b`: error. An empty name is don't-touch.",
    manual: "stat(9P)",
    async check(trial) {
      const session = await trial.session();
      await needsWstat(session);
      await session.make("f");
      const fid = await session.walkTo("f");
      for (const name of [".", "..", "a/b", "/"]) {
        await isRefused(session, fid, { name }, ILLEGAL_NAME);
      }
      await session.wstat(fid, { name: "", mode: 0o600 });
      const stat = await session.stat(fid);
      equal(stat.name, "f", "the name");
      equal(stat.mode, 0o600, "the mode");
    },
  },
  {
    id: "S100",
    title: "Twstat that changes DMDIR: error.",
    manual: "stat(9P)",
    async check(trial) {
      const session = await trial.session();
      await needsWstat(session);
      await session.make("f");
      await session.mkdir("d");
      const file = await session.walkTo("f");
      const dir = await session.walkTo("d");
      await isRefused(session, file, { mode: DMDIR + 0o755 }, KIND);
      await isRefused(session, dir, { mode: 0o755 }, KIND);
      await session.wstat(file, { mode: 0o600 });
      await session.wstat(dir, { mode: DMDIR + 0o700 });
      equal((await session.stat(dir)).mode, DMDIR + 0o700, "the mode");
    },
  },
  {
    id: "S101",
    title:
      "Twstat that changes type, dev, qid or uid, or muid alone: error. muid beside a name is ignored; type, dev, qid, uid equal to the present value may be accepted.",
    manual: "stat(9P)",
    async check(trial) {
      const session = await trial.session();
      await session.make("f");
      const fid = await session.walkTo("f");
      const { type, dev, qid, uid } = await session.stat(fid);
      const [other] = trial.users;
      const changes: Partial<Stat>[] = [
        { type: type + 1 },
        { dev: dev + 1 },
        { qid: { ...qid, path: qid.path + 1n } },
        { qid: { ...qid, vers: qid.vers + 1 } },
        { qid: { ...qid, type: DMAPPEND >>> 24 } },
        { uid: other },
        { muid: other },
      ];
      for (const change of changes) {
        await isRefused(session, fid, change, PROHIBITED);
      }
      for (const same of [{ type }, { dev }, { qid }, { uid }]) {
        const reply = await session.ask(T.wstat(fid, same));
        if (trial.strict) session.succeeded(T.wstat(fid), reply);
      }
      const rename = T.wstat(fid, { name: "g", muid: other });
      const reply = await session.ask(rename);
      if (!trial.strict && reply !== END && reply.type === "Rerror") return;
      session.succeeded(rename, reply);
      equal((await session.stat(fid)).name, "g", "the name");
    },
  },
  {
    id: "S102",
    title:
      "Twstat of mode or mtime by someone who is neither owner nor group leader: error. mtime beside a length needs only write permission.",
    manual: "stat(9P)",
    async check(trial) {
      const session = await trial.session();
      await session.make("f", { data: "text" });
      await session.chmod("f", 0o666);
      const guest = await trial.guest(0);
      const fid = await guest.walkTo("f");
      const mtime = 1_000_000_000;
      await isRefused(guest, fid, { mode: 0o777 }, NOT_OWNER);
      await isRefused(guest, fid, { mtime }, NOT_OWNER);
      await session.wstat(await session.walkTo("f"), { mode: 0o646, mtime });
      const both = { length: 2n, mtime: mtime + 1 };
      if (trial.strict) {
        await guest.wstat(fid, both);
        const stat = await guest.stat(fid);
        equal(stat.length, 2n, "the length");
        equal(stat.mtime, mtime + 1, "mtime");
      }
      await session.chmod("f", 0o644);
      await isRefused(guest, fid, both);
      if (trial.groups === undefined) return;
      // The leader of the file's group may change it, a member may not.
      const [gid] = trial.groups;
      await session.wstat(await session.walkTo("f"), { gid });
      await guest.wstat(fid, { mode: 0o640, mtime: 1 });
      const { mode, mtime: now } = await guest.stat(fid);
      equal([mode, now], [0o640, 1], "mode and mtime");
    },
  },
  {
    id: "S103",
    title: "Two changes of which one is illegal: error, none of them made.",
    manual: "stat(9P)",
    async check(trial) {
      const session = await trial.session();
      await session.make("f", { data: "text" });
      await session.make("taken");
      const fid = await session.walkTo("f");
      const illegal: Partial<Stat>[] = [
        { name: "new", mode: DMDIR + 0o644 },
        { name: "taken", mode: 0o600 },
        { name: "taken", length: 0n },
        { name: "a/b", mtime: 1_000_000_000 },
        { mode: 0o600, uid: trial.users[0] },
        { length: 0n, dev: 1 },
        { name: "new", mode: 0o600, length: 0n, type: 1 },
      ];
      for (const changes of illegal) await isRefused(session, fid, changes);
      equal(await session.names(""), ["f", "taken"], "the names");
      equal(await session.content("f"), "text", "the content");
      await session.chmod("f", 0o444);
      await isRefused(session, fid, { mode: 0o666, length: 0n }, DENIED);
      const guest = await trial.guest(0);
      await session.chmod("f", 0o666);
      const theirs = await guest.walkTo("f");
      await isRefused(guest, theirs, { length: 0n, mode: 0o777 }, NOT_OWNER);
      await isRefused(guest, theirs, { name: "new", mode: 0o777 }, NOT_OWNER);
      // Both changes are made when both are legal.
      await session.wstat(fid, { name: "new", mode: 0o600, length: 1n });
      const stat = await session.statOf("new");
      equal([stat.mode, stat.length], [0o600, 1n], "mode and length");
    },
  },
  {
    id: "S104",
    title: "Twstat with a size field that does not fit: error.",
    manual: "stat(9P)",
    async check(trial) {
      const session = await trial.session();
      const qid = await session.make("f");
      const record = encodeStat(T.wstat(0, { name: "" }).stat);
      for (
        const [outer, inner] of [
          [48, 47],
          [50, 47],
          [49, 46],
          [49, 48],
          [49, 0],
          [0, 47],
        ]
      ) {
        await sendMalformedWstat(
          session.strict,
          await trial.session(),
          record,
          outer,
          inner,
        );
      }
      await session.standsFor(await session.walkTo("f"), qid);
    },
  },
  {
    id: "S105",
    title:
      "Twstat of gid: owner who is a member of the new group, or leader of both groups; else error.",
    manual: "stat(9P)",
    async check(trial) {
      const session = await trial.session();
      const [second, third] = trial.users;
      await session.make("f");
      const fid = await session.walkTo("f");
      const notMember = "not a member of proposed group";
      const guest = await trial.guest(0);
      // The owner, not a member.
      await isRefused(session, fid, { gid: second }, notMember);
      // A member and leader of the new group, not the owner.
      const theirs = await guest.walkTo("f");
      await isRefused(guest, theirs, { gid: second }, notMember);
      await isRefused(guest, theirs, { gid: third }, notMember);
      // The owner, a member.
      await guest.make("g");
      const own = await guest.walkTo("g");
      const chgrp = await guest.attempt(T.wstat(own, { gid: second }));
      if (typeof chgrp === "string") {
        skip(`no group "${second}" here: ${chgrp}`);
      }
      equal((await guest.stat(own)).gid, second, "the group");
      await isRefused(guest, own, { gid: third }, notMember);
      if ((await guest.stat(own)).uid !== second) fail("another owner", second);
      // The leader of both, not the owner.
      if (trial.groups === undefined) return;
      const [from, to] = trial.groups;
      await isRefused(session, fid, { gid: to }, notMember);
      await session.wstat(fid, { gid: from });
      await isRefused(session, fid, { gid: to }, notMember);
      await guest.wstat(theirs, { gid: to });
      equal((await session.stat(fid)).gid, to, "the group");
    },
  },
];

/**
 * Sends a Twstat of the root with wrong sizes. Fails unless the server sends an
 * error or ends the connection.
 */
async function sendMalformedWstat(
  strict: boolean,
  session: Session,
  record: Uint8Array,
  outer: number,
  inner: number,
): Promise<void> {
  const stat = record.slice();
  new DataView(stat.buffer).setUint16(0, inner, true);
  const size = 13 + stat.length;
  const head = [size, 0, 0, 0, 126, 1, 0, ROOT, 0, 0, 0, outer, 0];
  session.raw(Uint8Array.of(...head, ...stat));
  session.start(T.stat(ROOT), 2);
  const what = `a Twstat with n ${outer}, size ${inner}`;
  const reply = await session.next(`an error for ${what}`);
  if (reply !== END && reply.tag === 1) {
    session.refused(reply, what, "protocol botch");
    session.succeeded(T.stat(ROOT), await session.next("Rstat"));
  } else if (strict) {
    session.refused(reply, what, "protocol botch");
  }
  session.close();
}
