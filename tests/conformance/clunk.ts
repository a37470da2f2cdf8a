// S85 to S92: clunks and removals.

import { DMDIR, ORCLOSE, ORDWR, OREAD } from "../../codec.ts";
import type { Rule } from "./rule.ts";
import { equal, fail, skip } from "./check.ts";
import { T } from "./requests.ts";
import { DIR, ROOT } from "./session.ts";
import { describe, END } from "./wire.ts";

const UNKNOWN = "fid unknown or out of range";
const DENIED = "permission denied";

export const clunkRules: readonly Rule[] = [
  {
    id: "S85",
    title:
      "After Rclunk the fid is unknown; a second Tclunk: unknown-fid error.",
    manual: "clunk(9P)",
    async check(trial) {
      const session = await trial.session();
      await session.make("f");
      for (const isOpen of [false, true]) {
        const fid = await session.walkTo("f");
        if (isOpen) await session.open(fid);
        await session.clunk(fid);
        await session.mustBeUnknown(fid);
        await session.refuses(T.clunk(fid), UNKNOWN);
        await session.refuses(T.read(fid), UNKNOWN);
        await session.refuses(T.walk(fid, 5), UNKNOWN);
      }
    },
  },
  {
    id: "S86",
    title: "After Rclunk the number can be used again at once.",
    manual: "clunk(9P)",
    async check(trial) {
      const session = await trial.session();
      const f = await session.make("f");
      const g = await session.make("g");
      for (let i = 0; i < 10; i++) {
        await session.walk(DIR, 5, i % 2 === 0 ? "f" : "g");
        await session.standsFor(5, i % 2 === 0 ? f : g);
        await session.open(5);
        await session.clunk(5);
      }
      await trial.attach(session, 5, trial.uname);
    },
  },
  {
    id: "S87",
    title:
      "ORCLOSE removes the file at the clunk, and when the connection ends.",
    manual: "open(9P)",
    async check(trial) {
      const session = await trial.session();
      for (const name of ["opened", "lost"]) await session.make(name);
      const fid = await session.openPath("opened", OREAD | ORCLOSE);
      await session.mustExist("opened");
      await session.clunk(fid);
      await session.mustBeGone("opened");
      const made = await session.walkTo("");
      await session.create(made, "made", 0o644, ORDWR | ORCLOSE);
      await session.write(made, "text");
      await session.mustExist("made");
      await session.clunk(made);
      await session.mustBeGone("made");
      const other = await trial.session();
      await other.openPath("lost", OREAD | ORCLOSE);
      await other.create(await other.walkTo(""), "new", 0o644, ORDWR | ORCLOSE);
      other.close();
      await trial.eventually(
        "the removal of the files of the lost connection",
        async () => (await session.names("")).length === 0,
      );
    },
  },
  {
    id: "S88",
    title: "A clunk that is answered with an error has freed the fid.",
    manual: "clunk(9P)",
    async check(trial) {
      const session = await trial.session();
      await session.mkdir("d");
      await session.make("d/f");
      const fid = await session.openPath("d/f", OREAD | ORCLOSE);
      await session.chmod("d", DMDIR + 0o555);
      const reply = await session.ask(T.clunk(fid));
      await session.mustBeUnknown(fid);
      await session.walk(DIR, fid);
      await session.chmod("d", DMDIR + 0o755);
      if (reply === END) fail(describe(reply), "a reply to the Tclunk");
      if (reply.type === "Rclunk") {
        skip("a removal by ORCLOSE that failed was not told");
      }
      session.refused(reply, "Tclunk", DENIED);
    },
  },
  {
    id: "S89",
    title: "Tremove frees the fid, also when it fails.",
    manual: "remove(9P)",
    async check(trial) {
      const session = await trial.session();
      await session.mkdir("d");
      await session.make("d/f");
      const file = await session.walkTo("d/f");
      const dir = await session.openPath("d");
      await session.refuses(T.remove(dir));
      await session.mustBeUnknown(dir);
      await session.walk(DIR, dir);
      await session.remove(file);
      await session.mustBeUnknown(file);
      await session.walk(DIR, file);
      equal(await session.names("d"), [], "the names");
      await session.refuses(T.remove(session.newFid()), UNKNOWN);
    },
  },
  {
    id: "S90",
    title: "Tremove of a directory that is not empty, or of the root: error.",
    manual: "remove(9P)",
    async check(trial) {
      const session = await trial.session();
      await session.mkdir("d");
      await session.make("d/f");
      const dir = await session.walkTo("d");
      await session.refuses(T.remove(dir), "directory is not empty");
      await session.mustExist("d/f");
      await session.walk(ROOT, 5); // The case's directory, which is not empty either.
      await session.refuses(T.remove(5), "cannot remove root");
      await session.mustBeUnknown(5);
      await session.stat(ROOT);
      await session.remove(await session.walkTo("d/f"));
      await session.remove(await session.walkTo("d"));
      equal(await session.names(""), [], "the names");
    },
  },
  {
    id: "S91",
    title: "Tremove needs write permission in the parent.",
    manual: "remove(9P)",
    async check(trial) {
      const session = await trial.session();
      await session.mkdir("d");
      await session.make("d/f", { perm: 0o666 });
      await session.chmod("d", DMDIR + 0o555);
      await session.refuses(T.remove(await session.walkTo("d/f")), DENIED);
      await session.mustExist("d/f");
      await session.chmod("d", DMDIR + 0o755);
      // The mode of the file itself does not matter.
      await session.chmod("d/f", 0);
      const guest = await trial.guest(0);
      await guest.refuses(T.remove(await guest.walkTo("d/f")), DENIED);
      await session.mustExist("d/f");
      await session.chmod("d", DMDIR + 0o777);
      await guest.remove(await guest.walkTo("d/f"));
      await session.mustBeGone("d/f");
    },
  },
  {
    id: "S92",
    title:
      "Another open fid of a removed file reads on, or gets an error; never other data, never a crash.",
    manual: "remove(9P)",
    async check(trial) {
      const session = await trial.session();
      await session.make("f", { data: "text" });
      const fid = await session.openPath("f", ORDWR);
      await session.remove(await session.walkTo("f"));
      await session.mustBeGone("f");
      // A new file of that name is a different file.
      await session.make("f", { data: "other" });
      const read = await session.ask(T.read(fid));
      if (trial.strict || read !== END && read.type === "Rread") {
        const { data } = session.succeeded(T.read(fid), read);
        equal(
          new TextDecoder().decode(data),
          "text",
          "what the open fid reads",
        );
        const write = await session.ask(T.write(fid, "more"));
        if (trial.strict) {
          session.succeeded(T.write(fid, ""), write);
          equal(await session.text(fid), "more", "what it reads");
        }
      } else {
        session.refused(read, "Tread", "file has been removed");
      }
      equal(await session.content("f"), "other", "the other file");
      await session.ask(T.stat(fid));
      const gone = T.wstat(fid, { name: "g" });
      await session.refuses(gone, "file has been removed");
      await session.clunk(fid);
      equal(await session.names(""), ["f"], "the names");
    },
  },
];
