// S61 to S69: creates.

import {
  DMDIR,
  ORCLOSE,
  ORDWR,
  OREAD,
  OTRUNC,
  OWRITE,
  QTDIR,
  type Stat,
} from "../../codec.ts";
import type { Rule } from "./rule.ts";
import { equal, equalStats, mustDiffer } from "./check.ts";
import { T } from "./requests.ts";
import { DIR, type Session } from "./session.ts";

/**
 * Fails unless a change of a member changes the mtime, muid and version of its
 * directory.
 */
async function mustChangeParent(
  owner: Session,
  user: Session,
  uname: string,
  what: string,
  change: () => Promise<void>,
): Promise<void> {
  const dir = await owner.walkTo("d");
  const { before, isOld } = await owner.age(dir);
  await change();
  const after: Stat = await user.statOf("d");
  if (isOld) {
    mustDiffer(after.mtime, before.mtime, `after ${what}, the parent's mtime`);
  }
  mustDiffer(after.qid.vers, before.qid.vers, `after ${what}, its qid.version`);
  equal(after.qid.path, before.qid.path, `after ${what}, its qid.path`);
  equal(after.muid, uname, `after ${what}, its muid`);
  await owner.clunk(dir);
}

export const createRules: readonly Rule[] = [
  {
    id: "S61",
    title: "Tcreate on a fid of a file: error.",
    manual: "open(9P)",
    async check(trial) {
      const session = await trial.session();
      const qid = await session.make("f");
      const fid = await session.walkTo("f");
      await session.refuses(T.create(fid, "x", 0o644), "not a directory");
      await session.standsFor(fid, qid);
      await session.open(fid, OREAD);
    },
  },
  {
    id: "S62",
    title: "Tcreate of `.`, `..`, ``, `a/b`: error.",
    manual: "open(9P)",
    async check(trial) {
      const session = await trial.session();
      await session.mkdir("a");
      const fid = await session.walkTo("");
      for (const name of [".", "..", "", "a/b", "/"]) {
        for (const perm of [0o644, DMDIR + 0o755]) {
          await session.refuses(T.create(fid, name, perm), "illegal name");
        }
      }
      equal(await session.names(""), ["a"], "the names");
      equal(await session.names("a"), [], "the names in a");
      await session.create(fid, "b"); // The fid is not open, and still stands for the directory.
    },
  },
  {
    id: "S63",
    title:
      "Tcreate of a name that exists: error; the file, also its content, is untouched; the fid still stands for the directory, not open.",
    manual: "open(9P)",
    async check(trial) {
      const session = await trial.session();
      await session.make("f", { data: "text", perm: 0o640 });
      await session.mkdir("d");
      const before = await session.statOf("f");
      const fid = await session.walkTo("");
      const exists = "file already exists";
      await session.refuses(T.create(fid, "f", 0o777, OWRITE | OTRUNC), exists);
      await session.refuses(T.create(fid, "f", DMDIR + 0o777), exists);
      await session.refuses(T.create(fid, "d", 0o666, ORDWR), exists);
      equalStats(await session.statOf("f"), before, "the file's attributes");
      equal(await session.content("f"), "text", "the content");
      await session.standsFor(fid, (await session.stat(DIR)).qid);
      await session.open(fid, OREAD);
    },
  },
  {
    id: "S64",
    title:
      "After Rcreate the fid is the new file, open: a write works at once.",
    manual: "open(9P)",
    async check(trial) {
      const session = await trial.session();
      await session.walk(DIR, 5);
      const { qid } = await session.create(5, "f", 0o644, ORDWR);
      await session.write(5, "text");
      equal(await session.text(5), "text", "what the fid reads");
      const stat = await session.stat(5);
      equal(stat.name, "f", "the name");
      equal(stat.qid.path, qid.path, "qid.path");
      await session.refuses(T.open(5), "file already open for I/O");
      await session.standsFor(await session.walkTo("f"), qid);
    },
  },
  {
    id: "S65",
    title:
      "Permissions are perm & (~0666 | dir & 0666) for files, perm & (~0777 | dir & 0777) for directories.",
    manual: "open(9P)",
    async check(trial) {
      const session = await trial.session();
      const dir = await session.walkTo("");
      for (const parent of [0o777, 0o755, 0o750, 0o700, 0o731]) {
        await session.setMode(dir, DMDIR + parent);
        for (const perm of [0o777, 0o666, 0o644, 0o421, 0o111, 0o700]) {
          const where = `with 0${perm.toString(8)} in a directory of 0${
            parent.toString(8)
          }`;
          const fid = await session.walkTo("");
          await session.create(fid, "f", perm);
          const file = (await session.stat(fid)).mode;
          const wanted = perm & (~0o666 | (parent & 0o666));
          equal(
            file.toString(8),
            wanted.toString(8),
            `a file made ${where}: mode`,
          );
          await session.remove(fid);
          const made = await session.walkTo("");
          await session.create(made, "d", DMDIR + perm, OREAD);
          const mode = (await session.stat(made)).mode & 0o777;
          equal(
            mode.toString(8),
            (perm & parent).toString(8),
            `a directory made ${where}: mode`,
          );
          await session.remove(made);
        }
      }
    },
  },
  {
    id: "S66",
    title: "Owner is the attached user, group is the directory's group.",
    manual: "open(9P)",
    async check(trial) {
      const session = await trial.session();
      const { gid } = await session.stat(DIR);
      await session.make("f");
      await session.mkdir("d");
      for (const path of ["f", "d"]) {
        const stat = await session.statOf(path);
        equal(stat.uid, trial.uname, `the owner of ${path}`);
        equal(stat.gid, gid, `the group of ${path}`);
      }
      const guest = await trial.guest(0);
      await guest.make("g");
      const stat = await session.statOf("g");
      equal(stat.uid, trial.users[0], "the owner of another user's file");
      equal(stat.gid, gid, "its group");
    },
  },
  {
    id: "S67",
    title:
      "DMDIR with OREAD makes a directory, open for reading; with OWRITE or ORDWR: error, nothing made.",
    manual: "open(9P)",
    async check(trial) {
      const session = await trial.session();
      const fid = await session.walkTo("");
      for (const mode of [OWRITE, ORDWR, OREAD | OTRUNC, OREAD | ORCLOSE]) {
        const create = T.create(fid, "d", DMDIR + 0o777, mode);
        await session.refuses(create, "Is a directory");
      }
      equal(await session.names(""), [], "the names");
      const { qid } = await session.create(fid, "d", DMDIR + 0o777, OREAD);
      equal(qid.type, QTDIR, "the qid's type");
      equal(await session.list(fid), [], "what the fid lists");
      const { mode } = await session.statOf("d");
      equal(mode >>> 24, DMDIR >>> 24, "the top byte of its mode");
      await session.make("d/f");
    },
  },
  {
    id: "S68",
    title:
      "Tcreate needs write permission in the directory; the mode is not checked against perm (perm 0444 with OWRITE can be written through this fid).",
    manual: "open(9P)",
    async check(trial) {
      const session = await trial.session();
      await session.mkdir("d", 0o555);
      const fid = await session.walkTo("d");
      for (const perm of [0o666, DMDIR + 0o777]) {
        await session.refuses(T.create(fid, "f", perm), "permission denied");
      }
      equal(await session.names("d"), [], "the names");
      await session.chmod("d", DMDIR + 0o755);
      await session.create(fid, "f", 0o444, OWRITE);
      await session.write(fid, "text");
      equal(await session.content("d/f"), "text", "the content");
      const denied = T.open(await session.walkTo("d/f"), OWRITE);
      await session.refuses(denied, "permission denied");
    },
  },
  {
    id: "S69",
    title:
      "Create, remove and rename move the parent's mtime, muid and qid.version.",
    manual: "stat(9P)",
    isAdvice: true,
    async check(trial) {
      const owner = await trial.session();
      await owner.mkdir("d", 0o777);
      const changes = async (user: Session, uname: string) => {
        await mustChangeParent(owner, user, uname, "a Tcreate", async () => {
          await user.make("d/f");
        });
        let name = "f";
        if (await user.hasWstat()) {
          await mustChangeParent(owner, user, uname, "a rename", async () => {
            await user.wstat(await user.walkTo("d/f"), { name: "g" });
          });
          name = "g";
        }
        await mustChangeParent(owner, user, uname, "a Tremove", async () => {
          await user.remove(await user.walkTo(`d/${name}`));
        });
      };
      await changes(owner, trial.uname);
      await changes(await trial.guest(0), trial.users[0]);
    },
  },
];
