// S106 to S113: flushes, and tags.

import { DMDIR, OREAD, type Rmessage } from "../../codec.ts";
import type { Rule } from "./rule.ts";
import { ensure, equal, fail } from "./check.ts";
import { type Request, T } from "./requests.ts";
import { DIR, ROOT, type Session } from "./session.ts";
import type { Trial } from "./trial.ts";
import { describe, END, tagged } from "./wire.ts";

/** Tag of the flushed request. */
const OLD = 900;
/** Tag of the Tflush. */
const FLUSH = 901;

/**
 * Sends a request and its Tflush in one write.
 *
 * @returns The reply to the request, if it came before the Rflush.
 */
async function flushAtOnce(
  session: Session,
  request: Request,
): Promise<Rmessage | undefined> {
  session.send(tagged(request, OLD), tagged(T.flush(OLD), FLUSH));
  const first = await session.next("Rflush");
  if (first !== END && first.tag === FLUSH) {
    session.succeeded(T.flush(OLD), first);
    await session.quiet();
    return undefined;
  }
  if (first === END || first.tag !== OLD) fail(describe(first), "Rflush");
  session.succeeded(T.flush(OLD), await session.next("Rflush"));
  await session.quiet();
  return first;
}

/**
 * Starts a read that blocks, under OLD; all requests before it are answered.
 */
async function startBlockedRead(trial: Trial, session: Session): Promise<void> {
  await trial.block(session, OLD);
  await session.quiet();
}

export const flushRules: readonly Rule[] = [
  {
    id: "S106",
    title: "Tflush of a tag that is not outstanding: Rflush.",
    manual: "flush(9P)",
    async check(trial) {
      const session = await trial.root();
      for (const oldtag of [0, 1, 0x1234, 0xfffe, 0xffff]) {
        await session.do(T.flush(oldtag));
      }
      const tag = session.start(T.stat(ROOT));
      await session.done(T.stat(ROOT), tag);
      await session.do(T.flush(tag)); // This request is already answered.
      await session.quiet();
    },
  },
  {
    id: "S107",
    title:
      "Tflush of a blocked read: Rflush, and no reply to the read afterwards.",
    manual: "flush(9P)",
    async check(trial) {
      const session = await trial.root();
      await startBlockedRead(trial, session);
      await session.do(T.flush(OLD));
      await trial.release();
      await session.stat(ROOT);
      await session.quiet();
    },
  },
  {
    id: "S108",
    title:
      "A reply that was sent before the flush was seen comes before the Rflush.",
    manual: "flush(9P)",
    async check(trial) {
      const session = await trial.session();
      await session.make("f", { data: "text" });
      const fid = await session.openPath("f");
      for (let i = 0; i < 30; i++) {
        // The read may be answered or not, but never after the Rflush.
        const reply = await flushAtOnce(session, T.read(fid));
        if (reply !== undefined) session.succeeded(T.read(fid), reply);
      }
      // This read is answered before the Tflush is sent.
      session.start(T.read(fid), OLD);
      await session.done(T.read(fid), OLD);
      session.start(T.flush(OLD), FLUSH);
      await session.done(T.flush(OLD), FLUSH);
      await session.quiet();
    },
  },
  {
    id: "S109",
    title:
      "Several flushes of one tag: Rflushes in the order of the requests, the last one answered at least.",
    manual: "flush(9P)",
    async check(trial) {
      const session = await trial.root();
      await startBlockedRead(trial, session);
      const tags = [910, 911, 912, 913];
      session.send(...tags.map((tag) => tagged(T.flush(OLD), tag)));
      const answered: number[] = [];
      while (answered.at(-1) !== tags[3]) {
        const event = await session.next("Rflush");
        answered.push(session.succeeded(T.flush(OLD), event).tag);
      }
      equal(answered, answered.toSorted(), "the order of the Rflushes");
      if (trial.strict) equal(answered, tags, "the tags of the Rflushes");
      await trial.release();
      await session.quiet();
    },
  },
  {
    id: "S110",
    title: "Tflush of a Tflush, and of its own tag: Rflush.",
    manual: "flush(9P)",
    async check(trial) {
      const session = await trial.root();
      session.start(T.flush(FLUSH), FLUSH);
      await session.done(T.flush(FLUSH), FLUSH);
      if (!await trial.has(session, "block") && !trial.strict) {
        session.send(tagged(T.flush(5), FLUSH), tagged(T.flush(FLUSH), 902));
      } else {
        await startBlockedRead(trial, session);
        session.send(tagged(T.flush(OLD), FLUSH), tagged(T.flush(FLUSH), 902));
      }
      // The server may answer only the second Tflush.
      await session.done(T.flush(FLUSH), 902);
      await session.do(T.flush(0));
      if (!trial.strict) session.discard();
      else await session.done(T.flush(OLD), FLUSH);
      await session.quiet();
    },
  },
  {
    id: "S111",
    title:
      "A flushed Tcreate, Twalk or Tattach either happened and was answered before the Rflush, or did not happen.",
    manual: "flush(9P)",
    async check(trial) {
      const session = await trial.session();
      await session.make("f");
      for (let i = 0; i < 10; i++) {
        const fid = await session.walkTo("");
        const name = `new${i}`;
        const perm = i % 2 === 0 ? 0o644 : DMDIR + 0o755;
        const create = T.create(fid, name, perm, OREAD);
        const made = await flushAtOnce(session, create) !== undefined;
        equal(await session.exists(name), made, `whether ${name} exists`);
        equal(
          (await session.stat(fid)).name === name,
          made,
          "whether fid moved",
        );

        const walked = await flushAtOnce(session, T.walk(DIR, 50, "f"));
        if (walked === undefined) await session.mustBeUnknown(50);
        else await session.clunk(50);

        const attach = T.attach(51, trial.uname, trial.aname);
        const attached = await flushAtOnce(session, attach);
        if (attached === undefined) await session.mustBeUnknown(51);
        else await session.clunk(51);
      }
    },
  },
  {
    id: "S112",
    title: "The flushed tag can be used again directly after the Rflush.",
    manual: "flush(9P)",
    async check(trial) {
      const session = await trial.root();
      for (let i = 0; i < 5; i++) {
        await startBlockedRead(trial, session);
        await session.do(T.flush(OLD));
        session.start(T.stat(ROOT), OLD);
        await session.done(T.stat(ROOT), OLD);
        await session.do(T.flush(OLD));
      }
      await trial.release();
      await session.quiet();
    },
  },
  {
    id: "S113",
    title:
      "A tag that is outstanding: error for the second request, the first is unaffected.",
    manual: "intro(9P)",
    async check(trial) {
      const session = await trial.session();
      await startBlockedRead(trial, session);
      session.start(T.walk(DIR, 50), OLD);
      const reply = await session.reply(OLD, "an error");
      session.refused(reply, "Twalk under a tag in use", "duplicate tag");
      await session.mustBeUnknown(50);
      await session.quiet();
      if (await trial.release()) {
        const { data } = await session.done(T.read(ROOT), OLD);
        ensure(data.length > 0, "no data", "those of the read that blocked");
      } else {
        await session.do(T.flush(OLD));
      }
      session.start(T.stat(ROOT), OLD);
      await session.done(T.stat(ROOT), OLD);
      await session.quiet();
    },
  },
];
