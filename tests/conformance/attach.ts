// S27 to S34: authentication, and the root.

import { dontTouch, NOFID, OREAD, QTDIR } from "../../codec.ts";
import type { Rule } from "./rule.ts";
import { ensure, equal, fail, skip } from "./check.ts";
import { T } from "./requests.ts";
import { DIR, ROOT } from "./session.ts";
import { END } from "./wire.ts";

/** The fid of the authentication file. */
const AFID = 8;

const FAILED = "authentication failed";
const BAD_USE = "bad use of fid";

export const attachRules: readonly Rule[] = [
  {
    id: "S27",
    title:
      "Tauth on a server without authentication: error; the afid stays unknown.",
    manual: "attach(9P)",
    async check(trial) {
      const session = await trial.connect();
      await session.version();
      const auth = T.auth(AFID, trial.uname, trial.aname);
      const reply = await session.ask(auth);
      if (reply !== END && reply.type === "Rauth") {
        skip("the server has authentication");
      }
      session.refused(reply, "Tauth", "authentication not required");
      // `9p -a` does the same: it then attaches under the same number.
      await trial.attach(session, AFID, trial.uname);
      await session.stat(AFID);
    },
  },
  {
    id: "S28",
    title:
      "Authentication required: Tattach with NOFID: error; the fid stays unknown.",
    manual: "attach(9P)",
    async check(trial) {
      const session = await trial.authSession();
      const attach = T.attach(ROOT, trial.uname, trial.aname, NOFID);
      const reply = await session.ask(attach);
      if (!trial.strict && reply !== END && reply.type === "Rattach") {
        skip("authentication is not required here");
      }
      session.refused(reply, "Tattach without afid", FAILED);
      await session.mustBeUnknown(ROOT);
    },
  },
  {
    id: "S29",
    title: "Tattach with an afid made for another uname or aname: error.",
    manual: "attach(9P)",
    async check(trial) {
      const session = await trial.authSession();
      const { uname, aname } = trial;
      await trial.authenticate(session, AFID, { uname, aname });
      const another = T.attach(5, trial.users[0], aname, AFID);
      await session.refuses(another, FAILED);
      await session.refuses(T.attach(5, uname, `${aname}x`, AFID), FAILED);
      await session.mustBeUnknown(5);
      if (trial.auth === undefined) return; // The kit does not know the exchange.
      await session.do(T.attach(5, uname, aname, AFID));
      await session.do(T.attach(6, uname, aname, AFID));
    },
  },
  {
    id: "S30",
    title:
      "Tattach with an afid whose exchange is not finished: error. Twalk, Topen, Tcreate, Tremove, Twstat on an afid: error.",
    manual: "attach(9P)",
    async check(trial) {
      const session = await trial.authSession();
      const { uname, aname } = trial;
      await session.do(T.auth(AFID, uname, aname));
      await session.refuses(T.attach(5, uname, aname, AFID), FAILED);
      await session.mustBeUnknown(5);
      await session.refuses(T.walk(AFID, 6), BAD_USE);
      await session.refuses(T.open(AFID, OREAD), BAD_USE);
      await session.refuses(T.create(AFID, "x", 0o644), BAD_USE);
      await session.refuses({
        type: "Twstat",
        fid: AFID,
        stat: dontTouch({ name: "x" }),
      }, BAD_USE);
      await session.refuses(T.remove(AFID), BAD_USE);
      await session.mustBeUnknown(AFID);
    },
  },
  {
    id: "S31",
    title:
      "Rattach has QTDIR and the qid that a clone with Tstat, Topen, and `..` from the root give as well.",
    manual: "attach(9P)",
    async check(trial) {
      const session = await trial.connect();
      await session.version();
      const { qid } = await trial.attach(session, ROOT, trial.uname);
      equal(qid.type & QTDIR, QTDIR, "QTDIR in Rattach");
      await session.walk(ROOT, 5);
      equal((await session.stat(5)).qid, qid, "the clone's qid in Rstat");
      equal((await session.open(5)).qid, qid, "the clone's qid in Ropen");
      equal(await session.walk(ROOT, 6, ".."), [qid], "the qid of `..`");
    },
  },
  {
    id: "S32",
    title:
      "Tattach with a fid in use: fid-in-use error; the old fid goes on working.",
    manual: "attach(9P)",
    async check(trial) {
      const session = await trial.session();
      const { qid } = await session.stat(DIR);
      const attach = T.attach(DIR, trial.uname, trial.aname);
      await session.refuses(attach, "fid already in use");
      await session.standsFor(DIR, qid);
    },
  },
  {
    id: "S33",
    title: "Unknown aname: error; the fid stays unknown.",
    manual: "attach(9P)",
    async check(trial) {
      const session = await trial.root();
      const aname = "no-such-tree/of-this-name";
      const reply = await session.ask(T.attach(5, trial.uname, aname));
      if (!trial.strict && reply !== END && reply.type === "Rattach") {
        skip("any aname is the same tree here");
      }
      session.refused(reply, "Tattach", "file does not exist");
      await session.mustBeUnknown(5);
    },
  },
  {
    id: "S34",
    title:
      "Several attaches on one connection give independent fids, each with its user.",
    manual: "attach(9P)",
    async check(trial) {
      const session = await trial.session();
      const [second] = trial.users;
      await trial.attach(session, 5, second);
      await session.walk(5, 6, ...trial.path);
      const theirs = await session.attempt(T.create(6, "theirs", 0o644));
      if (typeof theirs === "string") {
        skip(`"${second}" cannot write here: ${theirs}`);
      }
      await session.make("mine");
      const { uid } = await session.stat(6);
      const { uid: mine } = await session.statOf("mine");
      if (!trial.strict && uid === mine) {
        skip(`"${second}" and "${trial.uname}" are one user here`);
      }
      ensure(uid !== mine, `"${uid}" as the owner of both files`, "two owners");
      await session.clunk(ROOT);
      await session.stat(5);
      await session.clunk(5);
      await session.make("more");
      await session.mustExist("theirs");
      if ((await session.statOf("more")).uid !== mine) {
        fail("another owner", `"${mine}"`);
      }
    },
  },
];
