// S51 to S60: opens.

import {
  DMAPPEND,
  DMDIR,
  DMEXCL,
  OAPPEND,
  OCEXEC,
  OEXEC,
  ORCLOSE,
  ORDWR,
  OREAD,
  OTRUNC,
  OWRITE,
} from "../../codec.ts";
import type { Rule } from "./rule.ts";
import { ensure, equal, mustDiffer, skip } from "./check.ts";
import { bytesOf, T } from "./requests.ts";
import { DIR, type Session } from "./session.ts";
import type { Trial } from "./trial.ts";
import { END } from "./wire.ts";

const DENIED = "permission denied";
const EXCLUSIVE = "exclusive use file already open";

/** The modes, and the permission bits that each mode needs. */
const ACCESSES = [
  { name: "OREAD", mode: OREAD, bits: 4 },
  { name: "OWRITE", mode: OWRITE, bits: 2 },
  { name: "ORDWR", mode: ORDWR, bits: 6 },
  { name: "OEXEC", mode: OEXEC, bits: 1 },
];

/**
 * The tested permissions: each bit alone, then combinations of several classes.
 */
const PERMISSIONS = [
  ...[0o400, 0o200, 0o100, 0o040, 0o020, 0o010, 0o004, 0o002, 0o001],
  ...[0, 0o600, 0o060, 0o006, 0o420, 0o042, 0o777],
];

/** Class of a user for a file: 0 owner, 1 member of its group, 2 other. */
type Class = 0 | 1 | 2;

/**
 * True when the bits of all classes of a user together grant an access (the
 * manual).
 */
function addUp(perm: number, userClass: Class, bits: number): boolean {
  const owner = userClass === 0 ? perm >> 6 : 0;
  const group = userClass <= 1 ? perm >> 3 : 0;
  return ((owner | group | perm) & bits) === bits;
}

/** True when the bits of the first class of a user grant an access (Unix). */
function firstMatch(perm: number, userClass: Class, bits: number): boolean {
  return ((perm >> (6 - 3 * userClass)) & bits) === bits;
}

/**
 * Opens a file of each permission in each mode, as one user. A run that is not
 * strict leaves out the permissions on which the manual and Unix differ.
 */
async function checkAccess(
  trial: Trial,
  owner: Session,
  user: Session,
  userClass: Class,
): Promise<void> {
  const file = await owner.walkTo("g/f");
  for (const perm of PERMISSIONS) {
    await owner.setMode(file, perm);
    for (const { name, mode, bits } of ACCESSES) {
      const granted = addUp(perm, userClass, bits);
      if (!trial.strict && granted !== firstMatch(perm, userClass, bits)) {
        continue;
      }
      const fid = await user.walkTo("g/f");
      const reply = await user.ask(T.open(fid, mode));
      const what = `${name} of a file of 0${perm.toString(8)} by ${
        ["its owner", "a member of its group", "another user"][userClass]
      }`;
      if (granted) {
        const opened = reply !== END && reply.type === "Ropen";
        ensure(opened, `no Ropen for ${what}`, "one");
      } else {
        user.refused(reply, what, DENIED);
      }
      await user.clunk(fid);
    }
  }
}

/**
 * Makes a file of a kind. The case is skipped when the server does not support
 * the kind.
 */
export async function makeKind(
  session: Session,
  name: string,
  bit: number,
  data = "",
): Promise<void> {
  const fid = await session.walkTo("");
  const create = T.create(fid, name, bit + 0o666, OWRITE);
  const made = await session.attempt(create);
  const what = bit === DMEXCL ? "exclusive-use" : "append-only";
  if (typeof made === "string") skip(`no ${what} files here: ${made}`);
  if ((made.qid.type & (bit >>> 24)) === 0) skip(`no ${what} files here`);
  if (data !== "") await session.write(fid, data);
  await session.clunk(fid);
}

export const openRules: readonly Rule[] = [
  {
    id: "S51",
    title: "Topen of an open fid: error; the fid stays open as it was.",
    manual: "open(9P)",
    async check(trial) {
      const session = await trial.session();
      await session.make("f", { data: "text" });
      const fid = await session.openPath("f", OREAD);
      const already = "file already open for I/O";
      await session.refuses(T.open(fid, OREAD), already);
      await session.refuses(T.open(fid, ORDWR | OTRUNC), already);
      equal(await session.text(fid), "text", "what the open fid reads");
      await session.refuses(T.write(fid, "x"), "bad use of fid");
    },
  },
  {
    id: "S52",
    title:
      "OREAD, OWRITE, ORDWR, OEXEC are checked against the bits of owner, group, other for each of three users.",
    manual: "open(9P)",
    async check(trial) {
      // Files in a directory of the second user's group get that group.
      const owner = await trial.session();
      const member = await trial.guest(0);
      const other = await trial.guest(1);
      await member.mkdir("g", 0o777);
      const dir = await member.walkTo("g");
      await member.attempt(T.wstat(dir, { gid: trial.users[0] }));
      await owner.make("g/f");
      await checkAccess(trial, owner, owner, 0);
      await checkAccess(trial, owner, other, 2);
      const { gid } = await owner.statOf("g/f");
      if (gid !== trial.users[0]) {
        skip(
          `no file of the group "${
            trial.users[0]
          }" could be made; owner and others are right`,
        );
      }
      await checkAccess(trial, owner, member, 1);
    },
  },
  {
    id: "S53",
    title: "OTRUNC needs write permission, also with OREAD.",
    manual: "open(9P)",
    async check(trial) {
      const session = await trial.session();
      await session.make("f", { data: "text", perm: 0o444 });
      const denied = T.open(await session.walkTo("f"), OREAD | OTRUNC);
      await session.refuses(denied, DENIED);
      equal(await session.content("f"), "text", "the content");
      await session.make("g", { data: "text" });
      const fid = await session.openPath("g", OREAD | OTRUNC);
      equal(await session.content("g"), "", "the content");
      equal(await session.text(fid), "", "what the fid reads");
    },
  },
  {
    id: "S54",
    title: "A directory: OREAD works; OWRITE, ORDWR, OTRUNC give an error.",
    manual: "open(9P)",
    async check(trial) {
      const session = await trial.session();
      await session.mkdir("d");
      const fid = await session.walkTo("d");
      for (const mode of [OWRITE, ORDWR, OREAD | OTRUNC, OWRITE | OTRUNC]) {
        await session.refuses(T.open(fid, mode), "Is a directory");
      }
      await session.open(fid, OREAD);
      equal(await session.read(fid), new Uint8Array(0), "the directory's data");
    },
  },
  {
    id: "S55",
    title:
      "ORCLOSE on a directory: error. On a file: needs write permission in the parent.",
    manual: "open(9P)",
    async check(trial) {
      const session = await trial.session();
      await session.mkdir("d");
      await session.make("d/f");
      const dir = await session.walkTo("d");
      await session.refuses(T.open(dir, OREAD | ORCLOSE), "Is a directory");
      await session.chmod("d", DMDIR + 0o555);
      const fid = await session.walkTo("d/f");
      await session.refuses(T.open(fid, OREAD | ORCLOSE), DENIED);
      await session.mustExist("d/f");
      await session.chmod("d", DMDIR + 0o755);
      await session.open(fid, OREAD | ORCLOSE);
      await session.clunk(fid);
      await session.mustBeGone("d/f");
    },
  },
  {
    id: "S56",
    title: "OTRUNC on an append-only file succeeds and cuts nothing.",
    manual: "open(9P)",
    async check(trial) {
      const session = await trial.session();
      await makeKind(session, "log", DMAPPEND, "first\n");
      const fid = await session.openPath("log", OWRITE | OTRUNC);
      await session.write(fid, "second\n");
      equal(await session.content("log"), "first\nsecond\n", "the content");
    },
  },
  {
    id: "S57",
    title: "OTRUNC sets length 0, moves mtime and qid.version.",
    manual: "open(9P)",
    async check(trial) {
      const session = await trial.session();
      const { vers } = await session.make("f", { data: "hello" });
      const fid = await session.walkTo("f");
      const { before, isOld } = await session.age(fid);
      await session.open(fid, OWRITE | OTRUNC);
      const stat = await session.stat(fid);
      equal(stat.length, 0n, "the length");
      if (isOld) mustDiffer(stat.mtime, before.mtime, "mtime");
      mustDiffer(stat.qid.vers, vers, "qid.version");
      equal(await session.content("f"), "", "the content");
    },
  },
  {
    id: "S58",
    title:
      "DMEXCL: a second open, on any connection, is an error; works again after a clunk of the first, and after its connection is gone.",
    manual: "open(9P)",
    async check(trial) {
      const session = await trial.session();
      await makeKind(session, "lock", DMEXCL);
      const lost = await trial.session();
      const holder = await lost.openPath("lock", ORDWR);
      const fid = await session.walkTo("lock");
      await session.refuses(T.open(fid, OREAD), EXCLUSIVE);
      await lost.refuses(T.open(await lost.walkTo("lock"), OREAD), EXCLUSIVE);
      await lost.clunk(holder);
      await session.open(fid, OREAD);
      await lost.refuses(T.open(await lost.walkTo("lock"), OREAD), EXCLUSIVE);
      await session.clunk(fid);
      await lost.openPath("lock");
      await session.refuses(T.open(await session.walkTo("lock")), EXCLUSIVE);
      lost.close();
      const next = await session.walkTo("lock");
      await trial.eventually(
        "an Ropen, as the other connection is gone",
        async () => {
          const reply = await session.ask(T.open(next, OREAD));
          return reply !== END && reply.type === "Ropen";
        },
      );
      // The fid that creates the file holds it open.
      const made = await session.walkTo("");
      await session.create(made, "lock2", DMEXCL + 0o666);
      await session.refuses(T.open(await session.walkTo("lock2")), EXCLUSIVE);
    },
  },
  {
    id: "S59",
    title: "Bits in mode that are not defined: error or ignored.",
    manual: "open(9P)",
    async check(trial) {
      const session = await trial.session();
      await session.make("f", { data: "text" });
      for (const bit of [0x04, 0x08, OCEXEC, OAPPEND]) {
        const fid = await session.walkTo("f");
        const reply = await session.ask(T.open(fid, OREAD | bit));
        const isIgnored = trial.strict
          ? bit === OCEXEC || bit === OAPPEND
          : reply !== END && reply.type !== "Rerror";
        if (isIgnored) {
          session.succeeded(T.open(fid), reply);
        } else {
          session.refused(reply, `Topen with bit ${bit}`, "illegal mode");
          await session.open(fid, OREAD);
        }
        equal(await session.text(fid), "text", `with bit ${bit}, a read`);
      }
    },
  },
  {
    id: "S60",
    title:
      "Ropen's qid equals that of Tstat (after truncation); iounit is 0 or at most msize - 24.",
    manual: "open(9P)",
    async check(trial) {
      const session = await trial.session({ msize: 4096 });
      await session.make("f", { data: "text" });
      for (const mode of [OREAD, ORDWR, OWRITE | OTRUNC]) {
        const fid = await session.walkTo("f");
        const { qid, iounit } = await session.open(fid, mode);
        equal(qid, (await session.stat(fid)).qid, "Ropen's qid");
        const most = session.msize - 24;
        ensure(iounit <= most, `iounit ${iounit}`, `at most ${most}`);
        if (iounit === 0 || (mode & 3) === OREAD) continue;
        await session.write(fid, bytesOf("x".repeat(iounit)));
      }
      const dir = session.newFid();
      await session.walk(DIR, dir);
      const { qid } = await session.open(dir);
      equal(qid, (await session.stat(dir)).qid, "a directory's qid in Ropen");
    },
  },
];
