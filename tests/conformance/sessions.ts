// S114 to S117: several connections, their ends, and limits.

import { DMEXCL, ORCLOSE, ORDWR, OREAD } from "../../codec.ts";
import type { Rule } from "./rule.ts";
import { ensure, equal, fail, Failure, skip } from "./check.ts";
import { T } from "./requests.ts";
import { DIR, ROOT, type Session } from "./session.ts";
import type { Trial } from "./trial.ts";
import { describe, END, type ReplyOrEnd, tagged } from "./wire.ts";

const TOO_MANY = "Too many open files";

/** Reads the number in the file `cancelled`. */
async function count(trial: Trial, session: Session): Promise<number> {
  const fid = await trial.openFixture(session, "cancelled");
  const text = await session.text(fid);
  await session.clunk(fid);
  return Number(text);
}

export const sessionRules: readonly Rule[] = [
  {
    id: "S114",
    title:
      "The end of a connection cancels its pending requests and clunks its fids (handlers see it).",
    manual: "intro(9P)",
    async check(trial) {
      const session = await trial.session();
      await session.make("closing");
      const lost = await trial.session();
      await lost.openPath("closing", OREAD | ORCLOSE);
      const fid = await lost.walkTo("");
      const made = await lost.ask(T.create(fid, "lock", DMEXCL + 0o666, ORDWR));
      const watched = await trial.has(session, "block") &&
        await trial.has(session, "cancelled");
      let before = 0;
      if (watched || trial.strict) {
        before = await count(trial, session);
        for (let i = 0; i < 3; i++) await trial.block(lost);
        await lost.quiet();
        equal(await count(trial, session), before, "reads given up so far");
      }
      lost.close();
      await trial.eventually(
        "the removal of the ORCLOSE file of the lost connection",
        async () => !await session.exists("closing"),
      );
      if (made !== END && made.type === "Rcreate") {
        const lock = await session.walkTo("lock");
        await trial.eventually("an Ropen of its exclusive file", async () => {
          const reply = await session.ask(T.open(lock));
          return reply !== END && reply.type === "Ropen";
        });
      }
      if (watched || trial.strict) {
        await trial.eventually(
          "3 more reads given up",
          async () => await count(trial, session) === before + 3,
        );
      }
    },
  },
  {
    id: "S115",
    title: "A handler that throws: error for that tag only.",
    manual: "intro(9P)",
    async check(trial) {
      const session = await trial.session();
      await session.make("f", { data: "text" });
      const broken = await trial.openFixture(session, "broken");
      const fid = await session.openPath("f");
      session.send(
        tagged(T.read(fid), 900),
        tagged(T.read(broken), 901),
        tagged(T.read(fid), 902),
      );
      await session.done(T.read(fid), 900);
      session.refused(await session.reply(901), "Tread", "i/o error");
      await session.done(T.read(fid), 902);
      await session.refuses(T.read(broken), "i/o error");
      await session.clunk(broken);
      await session.quiet();
      await trial.mustServeOthers();
    },
  },
  {
    id: "S116",
    title: "Fids and tags of one connection cannot be used on another.",
    manual: "intro(9P)",
    async check(trial) {
      const session = await trial.session();
      await session.make("f", { data: "text" });
      await session.walk(DIR, 50, "f");
      await session.open(50);
      const other = await trial.root();
      await other.mustBeUnknown(DIR);
      await other.mustBeUnknown(50);
      await other.refuses(T.read(50), "fid unknown or out of range");
      await other.refuses(T.walk(DIR, 5), "fid unknown or out of range");
      await other.walk(ROOT, 50);
      await other.clunk(50);
      equal(await session.text(50), "text", "what the fid reads");
      if (!await trial.has(session, "block") && !trial.strict) return;
      await trial.block(session, 900);
      await session.quiet();
      // The same tag on the other connection is free, and a flush there has no
      // effect here.
      other.start(T.stat(ROOT), 900);
      await other.done(T.stat(ROOT), 900);
      await other.do(T.flush(900));
      other.close();
      if (await trial.release()) await session.done(T.read(50), 900);
    },
  },
  {
    id: "S117",
    title:
      "Above the limits of fids, outstanding requests, connections: a clean error, or back-pressure; Tflush still works.",
    manual: "intro(9P)",
    async check(trial) {
      const isBounded = await tooManyFids(trial);
      await tooManyConnections(trial);
      await tooManyRequests(trial);
      if (isBounded) return;
      const most = trial.limits.fids + 10;
      skip(`too slow here for ${most} fids; a larger --patience tries them`);
    },
  },
];

/**
 * Makes more fids than the limit. Fails unless the server sends an error, and
 * the other fids go on working.
 *
 * @returns False when a third of the case's time was not enough.
 */
async function tooManyFids(trial: Trial): Promise<boolean> {
  const end = Date.now() + trial.timeout / 3;
  const session = await trial.root();
  const most = trial.limits.fids + 10;
  let refused: ReplyOrEnd | undefined;
  let used = 1;
  let isLate = false;
  while (used < most && refused === undefined && !isLate) {
    const batch = Math.min(500, most - used);
    const walks = Array.from(
      { length: batch },
      (_, i) => tagged(T.walk(ROOT, used + i), i + 1),
    );
    session.mute();
    session.send(...walks);
    for (let i = 0; i < batch; i++) {
      const event = await session.next("Rwalk");
      if (event === END) fail(describe(event), "an error for one fid too many");
      if (event.type === "Rwalk") used++;
      else refused ??= event;
    }
    session.mute(false);
    isLate = !trial.strict && Date.now() > end;
  }
  if (refused !== undefined) session.refused(refused, "Twalk", TOO_MANY);
  else if (trial.strict) fail(`${used} fids`, "an error for one too many");
  await session.stat(ROOT);
  await session.do(T.flush(1));
  await session.clunk(1);
  await session.walk(ROOT, 1);
  await trial.mustServeOthers();
  if (!trial.strict) await clunkAll(session, used);
  session.close();
  return refused !== undefined || !isLate;
}

/**
 * Clunks the fids from 1 on, in batches. Otherwise a slow server would clunk
 * all of them at the end of the connection, and serve no other client
 * meanwhile.
 */
async function clunkAll(session: Session, used: number): Promise<void> {
  session.mute();
  for (let from = 1; from < used; from += 500) {
    const length = Math.min(500, used - from);
    const fids = Array.from({ length }, (_, i) => from + i);
    session.send(...fids.map((fid, i) => tagged(T.clunk(fid), i + 1)));
    for (const _ of fids) {
      const event = await session.next("Rclunk");
      if (event === END) fail(describe(event), "Rclunk");
    }
  }
  session.mute(false);
}

/**
 * Makes more connections than the limit. Fails unless the server refuses or
 * ends them.
 */
async function tooManyConnections(trial: Trial): Promise<void> {
  const { connections } = trial.limits;
  if (connections === undefined) return;
  const first = await trial.root();
  const others: Session[] = [];
  while (others.length < connections) {
    const other = await trial.root().catch((error) => {
      if (error instanceof Failure) return undefined;
      throw error;
    });
    if (other === undefined) break;
    others.push(other);
  }
  await first.stat(ROOT);
  if (others.length === connections) {
    fail(`more than ${connections} connections`, "the last one refused");
  }
  for (const other of others) other.close();
  await trial.eventually(
    "a connection, as others are gone",
    () => trial.root().then(() => true, () => false),
  );
  first.close();
}

/** Starts blocking reads up to the limit. Fails unless Tflush still works. */
async function tooManyRequests(trial: Trial): Promise<void> {
  const session = await trial.root();
  if (!await trial.has(session, "block") && !trial.strict) {
    skip("no file whose read blocks; limits of fids are right");
  }
  const fid = await trial.openFixture(session, "block");
  const most = trial.limits.requests + 16;
  let refused: ReplyOrEnd | undefined;
  let sent = 0;
  for (; sent < most && refused === undefined; sent++) {
    session.start(T.read(fid), 1000 + sent);
    const tag = session.start(T.flush(0));
    const event = await session.next("Rflush, with many requests outstanding");
    if (event !== END && event.tag === tag) continue;
    refused = event;
    await session.done(T.flush(0), tag);
  }
  if (refused !== undefined) session.refused(refused, "Tread", TOO_MANY);
  await session.do(T.flush(1000));
  await session.do(T.flush(1000 + sent - 2));
  ensure(sent > 1, "no second read", "some");
  await trial.mustServeOthers();
  session.close();
}
