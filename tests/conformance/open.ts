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
import type { Line } from "./line.ts";
import { equal, holds, moved, skip } from "./check.ts";
import { bytesOf, T } from "./requests.ts";
import { DIR, type Session } from "./session.ts";
import type { Trial } from "./trial.ts";
import { END } from "./wire.ts";

const DENIED = "permission denied";
const EXCLUSIVE = "exclusive use file already open";

/** Names of modes, and the permission bits that each needs. */
const ACCESSES = [
  { name: "OREAD", mode: OREAD, bits: 4 },
  { name: "OWRITE", mode: OWRITE, bits: 2 },
  { name: "ORDWR", mode: ORDWR, bits: 6 },
  { name: "OEXEC", mode: OEXEC, bits: 1 },
];

/** Permissions to try: each bit alone, then those that add up. */
const PERMISSIONS = [
  ...[0o400, 0o200, 0o100, 0o040, 0o020, 0o010, 0o004, 0o002, 0o001],
  ...[0, 0o600, 0o060, 0o006, 0o420, 0o042, 0o777],
];

/** Who opens: the owner, a member of the file's group, or another. */
type Class = 0 | 1 | 2;

/** Whether the rights of all of a user's classes together grant an access. */
function addUp(perm: number, who: Class, bits: number): boolean {
  const owner = who === 0 ? perm >> 6 : 0;
  const group = who <= 1 ? perm >> 3 : 0;
  return ((owner | group | perm) & bits) === bits;
}

/** Whether the first of a user's classes grants it alone, as Unix has it. */
function firstMatch(perm: number, who: Class, bits: number): boolean {
  return ((perm >> (6 - 3 * who)) & bits) === bits;
}

/**
 * Opens a file of each permission in each mode, as one user. A lenient run
 * leaves out where the manual and Unix differ.
 */
async function checkAccess(
  trial: Trial,
  owner: Session,
  user: Session,
  who: Class,
): Promise<void> {
  const file = await owner.at("g/f");
  for (const perm of PERMISSIONS) {
    await owner.setMode(file, perm);
    for (const { name, mode, bits } of ACCESSES) {
      const granted = addUp(perm, who, bits);
      if (!trial.strict && granted !== firstMatch(perm, who, bits)) continue;
      const fid = await user.at("g/f");
      const reply = await user.ask(T.open(fid, mode));
      const what = `${name} of a file of 0${perm.toString(8)} by ${
        ["its owner", "a member of its group", "another user"][who]
      }`;
      if (granted) {
        const opened = reply !== END && reply.type === "Ropen";
        holds(opened, `no Ropen for ${what}`, "one");
      } else {
        user.refused(reply, what, DENIED);
      }
      await user.clunk(fid);
    }
  }
}

/** Makes a file of a kind that a server may not have. */
export async function makeKind(
  session: Session,
  name: string,
  bit: number,
  data = "",
): Promise<void> {
  const fid = await session.at("");
  const create = T.create(fid, name, bit + 0o666, OWRITE);
  const made = await session.attempt(create);
  const what = bit === DMEXCL ? "exclusive-use" : "append-only";
  if (typeof made === "string") skip(`no ${what} files here: ${made}`);
  if ((made.qid.type & (bit >>> 24)) === 0) skip(`no ${what} files here`);
  if (data !== "") await session.write(fid, data);
  await session.clunk(fid);
}

export const openLines: readonly Line[] = [
  {
    id: "S51",
    title: "Topen of an open fid: error; the fid stays open as it was.",
    manual: "open(9P)",
    async check(trial) {
      const session = await trial.session();
      await session.make("f", { data: "text" });
      const fid = await session.opened("f", OREAD);
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
      // The group: a directory of the second user's group gives it to its files.
      const owner = await trial.session();
      const member = await trial.guest(0);
      const other = await trial.guest(1);
      await member.mkdir("g", 0o777);
      const dir = await member.at("g");
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
      const denied = T.open(await session.at("f"), OREAD | OTRUNC);
      await session.refuses(denied, DENIED);
      equal(await session.content("f"), "text", "the content");
      await session.make("g", { data: "text" });
      const fid = await session.opened("g", OREAD | OTRUNC);
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
      const fid = await session.at("d");
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
      const dir = await session.at("d");
      await session.refuses(T.open(dir, OREAD | ORCLOSE), "Is a directory");
      await session.chmod("d", DMDIR + 0o555);
      const fid = await session.at("d/f");
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
      const fid = await session.opened("log", OWRITE | OTRUNC);
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
      const fid = await session.at("f");
      const { before, isOld } = await session.age(fid);
      await session.open(fid, OWRITE | OTRUNC);
      const stat = await session.stat(fid);
      equal(stat.length, 0n, "the length");
      if (isOld) moved(stat.mtime, before.mtime, "mtime");
      moved(stat.qid.vers, vers, "qid.version");
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
      const holder = await lost.opened("lock", ORDWR);
      const fid = await session.at("lock");
      await session.refuses(T.open(fid, OREAD), EXCLUSIVE);
      await lost.refuses(T.open(await lost.at("lock"), OREAD), EXCLUSIVE);
      await lost.clunk(holder);
      await session.open(fid, OREAD);
      await lost.refuses(T.open(await lost.at("lock"), OREAD), EXCLUSIVE);
      await session.clunk(fid);
      await lost.opened("lock");
      await session.refuses(T.open(await session.at("lock")), EXCLUSIVE);
      lost.close();
      const next = await session.at("lock");
      await trial.eventually(
        "an Ropen, as the other connection is gone",
        async () => {
          const reply = await session.ask(T.open(next, OREAD));
          return reply !== END && reply.type === "Ropen";
        },
      );
      // Whoever creates one, holds it.
      const made = await session.at("");
      await session.create(made, "lock2", DMEXCL + 0o666);
      await session.refuses(T.open(await session.at("lock2")), EXCLUSIVE);
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
        const fid = await session.at("f");
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
        const fid = await session.at("f");
        const { qid, iounit } = await session.open(fid, mode);
        equal(qid, (await session.stat(fid)).qid, "Ropen's qid");
        const most = session.msize - 24;
        holds(iounit <= most, `iounit ${iounit}`, `at most ${most}`);
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
