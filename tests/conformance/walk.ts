// S35 to S50: walks.

import { DMDIR, ORDWR, OREAD, QTDIR } from "../../codec.ts";
import type { Rule } from "./rule.ts";
import { ensure, equal, fail } from "./check.ts";
import { T } from "./requests.ts";
import { DIR, NO_SUCH_FID, ROOT, type Session } from "./session.ts";
import { describe, END } from "./wire.ts";

const NOT_FOUND = "file does not exist";
const UNKNOWN = "fid unknown or out of range";

/** Fails unless a walk stops after the first `found` names. */
async function stopsAfter(
  session: Session,
  found: number,
  fid: number,
  newfid: number,
  ...names: string[]
): Promise<void> {
  const { wqid } = await session.do(T.walk(fid, newfid, ...names));
  equal(wqid.length, found, `the qids for ${JSON.stringify(names)}`);
  if (newfid !== fid) await session.mustBeUnknown(newfid);
}

/** Fails unless a walk finds no file. */
async function isNotFound(
  session: Session,
  fid: number,
  name: string,
  ename = NOT_FOUND,
): Promise<void> {
  const newfid = session.newFid();
  await session.refuses(T.walk(fid, newfid, name), ename);
  await session.mustBeUnknown(newfid);
}

export const walkRules: readonly Rule[] = [
  {
    id: "S35",
    title: "No names: newfid stands for the same file; Rwalk has no qids.",
    manual: "walk(9P)",
    async check(trial) {
      const session = await trial.session();
      const qid = await session.make("f");
      const { wqid } = await session.do(T.walk(DIR, 5));
      equal(wqid, [], "the qids");
      await session.standsFor(5, (await session.stat(DIR)).qid);
      await session.walk(5, 5, "f");
      await session.walk(5, 6); // A plain file can be cloned as well.
      await session.clunk(5);
      await session.standsFor(6, qid);
    },
  },
  {
    id: "S36",
    title: "newfid = fid with names that are all found moves fid.",
    manual: "walk(9P)",
    async check(trial) {
      const session = await trial.session();
      await session.mkdir("d");
      const qid = await session.make("d/f");
      await session.walk(DIR, 5);
      const qids = await session.walk(5, 5, "d", "f");
      equal(qids[1].path, qid.path, "the second qid's path");
      await session.standsFor(5, qid);
    },
  },
  {
    id: "S37",
    title: "newfid in use and not fid: fid-in-use error; both unchanged.",
    manual: "walk(9P)",
    async check(trial) {
      const session = await trial.session();
      const f = await session.make("f");
      await session.make("g");
      await session.walk(DIR, 5, "f");
      const { qid } = await session.stat(DIR);
      const inUse = "fid already in use";
      await session.refuses(T.walk(DIR, 5, "g"), inUse);
      await session.refuses(T.walk(DIR, 5), inUse);
      await session.standsFor(5, f);
      await session.standsFor(DIR, qid);
    },
  },
  {
    id: "S38",
    title: "First name not found: error; newfid stays unknown.",
    manual: "walk(9P)",
    async check(trial) {
      const session = await trial.session();
      await session.make("f");
      await session.refuses(T.walk(DIR, 5, "missing"), NOT_FOUND);
      await session.mustBeUnknown(5);
      await session.refuses(T.walk(DIR, 5, "missing", "f"), NOT_FOUND);
      await session.walk(DIR, 5, "f"); // The fid number is free.
    },
  },
  {
    id: "S39",
    title:
      "A later name not found: Rwalk with the qids of those before it; newfid stays unknown; fid unchanged.",
    manual: "walk(9P)",
    async check(trial) {
      const session = await trial.session();
      await session.mkdir("a");
      await session.mkdir("a/b");
      const { qid } = await session.stat(DIR);
      const wanted = await session.walk(DIR, 4, "a", "b");
      const walk = T.walk(DIR, 5, "a", "b", "missing", "c");
      const { wqid } = await session.do(walk);
      equal(wqid, wanted, "the qids");
      await session.mustBeUnknown(5);
      await session.standsFor(DIR, qid);
    },
  },
  {
    id: "S40",
    title: "newfid = fid and an incomplete walk: fid unchanged.",
    manual: "walk(9P)",
    async check(trial) {
      const session = await trial.session();
      await session.mkdir("a");
      await session.walk(DIR, 5);
      const { qid } = await session.stat(5);
      await stopsAfter(session, 1, 5, 5, "a", "missing");
      await session.standsFor(5, qid);
      await session.refuses(T.walk(5, 5, "missing"), NOT_FOUND);
      await session.standsFor(5, qid);
    },
  },
  {
    id: "S41",
    title: "16 names work, 16 qids come back.",
    manual: "walk(9P)",
    async check(trial) {
      const session = await trial.session();
      const names: string[] = [];
      for (let i = 0; i < 16; i++) {
        names.push("d");
        await session.mkdir(names.join("/"));
      }
      const qids = await session.walk(DIR, 5, ...names);
      const paths = new Set(qids.map(({ path }) => path));
      equal(paths.size, 16, "the number of different qid paths");
      await session.standsFor(5, qids[15]);
    },
  },
  {
    id: "S42",
    title:
      "A name behind a plain file: error when it is the first of the walk, incomplete Rwalk when a later one.",
    manual: "walk(9P)",
    async check(trial) {
      const session = await trial.session();
      await session.make("f");
      const file = await session.walkTo("f");
      for (const name of ["x", ".."]) {
        await isNotFound(session, file, name, "not a directory");
        await stopsAfter(session, 1, DIR, 5, "f", name);
      }
    },
  },
  {
    id: "S43",
    title: "`..` in the root gives one qid, the root's.",
    manual: "walk(9P)",
    async check(trial) {
      const session = await trial.root();
      const { qid } = await session.stat(ROOT);
      equal(await session.walk(ROOT, 5, ".."), [qid], "the qids");
      await session.standsFor(5, qid);
    },
  },
  {
    id: "S44",
    title: "`a/../b` as three names gives three qids and ends at b.",
    manual: "walk(9P)",
    async check(trial) {
      const session = await trial.session();
      await session.mkdir("a");
      await session.mkdir("b");
      const a = (await session.statOf("a")).qid;
      const b = (await session.statOf("b")).qid;
      const dir = (await session.stat(DIR)).qid;
      equal(
        await session.walk(DIR, 5, "a", "..", "b"),
        [a, dir, b],
        "the qids",
      );
      await session.standsFor(5, b);
    },
  },
  {
    id: "S45",
    title: "Names ``, `a/b`, `/` are found nowhere.",
    manual: "walk(9P)",
    async check(trial) {
      const session = await trial.session();
      await session.mkdir("a");
      await session.make("a/b");
      for (const name of ["", "a/b", "/"]) {
        await isNotFound(session, DIR, name);
        await stopsAfter(session, 1, DIR, 5, "a", name);
      }
    },
  },
  {
    id: "S46",
    title: "`.`: not found, or the directory itself; never anything else.",
    manual: "walk(9P)",
    async check(trial) {
      const session = await trial.session();
      const { qid } = await session.stat(DIR);
      const reply = await session.ask(T.walk(DIR, 5, "."));
      if (reply !== END && reply.type === "Rwalk" && !trial.strict) {
        equal(reply.wqid, [qid], "the qids");
        await session.standsFor(5, qid);
      } else {
        session.refused(reply, "Twalk of `.`", NOT_FOUND);
        await session.mustBeUnknown(5);
      }
    },
  },
  {
    id: "S47",
    title: "fid that does not exist: unknown-fid error.",
    manual: "walk(9P)",
    async check(trial) {
      const session = await trial.root();
      await session.refuses(T.walk(NO_SUCH_FID, 5), UNKNOWN);
      await session.refuses(T.walk(NO_SUCH_FID, NO_SUCH_FID), UNKNOWN);
      await session.refuses(T.walk(NO_SUCH_FID, ROOT), UNKNOWN);
      await session.mustBeUnknown(5);
      await session.stat(ROOT);
    },
  },
  {
    id: "S48",
    title:
      "Walk from an open fid: newfid = fid is an error; another newfid works and is not open (a strict server: error).",
    manual: "walk(9P)",
    async check(trial) {
      const session = await trial.session();
      await session.make("f", { data: "text" });
      const dir = await session.openPath("");
      const file = await session.openPath("f", ORDWR);
      await session.refuses(T.walk(dir, dir, "f"), "bad use of fid");
      await session.refuses(T.walk(file, file), "bad use of fid");
      for (const fid of [dir, file]) {
        const newfid = session.newFid();
        const reply = await session.ask(T.walk(fid, newfid));
        if (reply !== END && reply.type === "Rerror" && !trial.strict) continue;
        session.succeeded(T.walk(fid, newfid), reply);
        await session.open(newfid); // Opening fails when the fid is already open.
      }
      equal(await session.text(file), "text", "what the open fid reads");
    },
  },
  {
    id: "S49",
    title:
      "Execute permission is needed in every directory walked from, for the fid's user; without it, error or incomplete Rwalk as in S38, S39.",
    manual: "walk(9P)",
    async check(trial) {
      const session = await trial.session();
      await session.mkdir("d");
      await session.mkdir("d/e");
      await session.make("d/e/f");
      const denied = "permission denied";
      /** From the directory itself, and on the way through it. */
      const isClosed = async (session: Session, path: string) => {
        const fid = await session.walkTo(path);
        const behind = path === "d" ? "e" : "f";
        await isNotFound(session, fid, behind, denied);
        await isNotFound(session, fid, "..", denied);
        const names = path.split("/");
        await stopsAfter(session, names.length, DIR, 5, ...names, behind);
        await session.clunk(fid);
      };
      for (const path of ["d", "d/e"]) {
        await session.chmod(path, DMDIR + 0o666);
        await isClosed(session, path);
        await session.chmod(path, DMDIR + 0o700);
        await session.walk(DIR, session.newFid(), "d", "e", "f");
        await session.chmod(path, DMDIR + 0o755);
      }
      const guest = await trial.guest(0);
      await session.chmod("d/e", DMDIR + 0o700);
      await isClosed(guest, "d/e");
      await session.chmod("d/e", DMDIR + 0o701);
      await guest.mustExist("d/e/f");
    },
  },
  {
    id: "S50",
    title: "A walk from the fid of a removed directory: error.",
    manual: "walk(9P)",
    async check(trial) {
      const session = await trial.session();
      await session.mkdir("d");
      const fid = await session.walkTo("d");
      const { qid } = await session.stat(fid);
      await session.remove(await session.walkTo("d"));
      for (const name of ["x", ".."]) {
        const reply = await session.ask(T.walk(fid, 5, name));
        if (reply === END) fail(describe(reply), "an error");
        session.refused(reply, "Twalk", "file has been removed");
      }
      // The fid must not stand for the next file of that name.
      await session.mkdir("d");
      await session.make("d/x");
      await session.refuses(T.walk(fid, 5, "x"), "file has been removed");
      const { qid: next } = await session.statOf("d");
      ensure(next.path !== qid.path, `qid path ${next.path}`, "a new one");
      equal(next.type, QTDIR, "qid type");
      await session.open(await session.walkTo("d"), OREAD);
    },
  },
];
