// S74 to S77: reads of directories.

import { DMDIR, encodeStat, OREAD } from "../../codec.ts";
import type { Rule } from "./rule.ts";
import { ensure, equal, hex, skip } from "./check.ts";
import { T } from "./requests.ts";
import { membersOf, type Session } from "./session.ts";
import type { Trial } from "./trial.ts";
import { END } from "./wire.ts";

/** Names of several lengths, and so records of several sizes. */
const NAMES = Array.from(
  { length: 12 },
  (_, i) => `m${"x".repeat(i * i % 23)}${i}`,
);

const BAD_OFFSET = "bad offset in directory read";

/**
 * Starts a session, makes a directory with members, and returns the size of the
 * largest record.
 */
async function makeMembers(
  trial: Trial,
): Promise<{ session: Session; largest: number }> {
  const session = await trial.session();
  await session.mkdir("d");
  for (const name of NAMES) await session.make(`d/${name}`);
  const fid = await session.openPath("d");
  const members = await session.list(fid);
  await session.clunk(fid);
  const sizes = members.map((member) => encodeStat(member).length);
  return { session, largest: Math.max(...sizes) };
}

export const directoryRules: readonly Rule[] = [
  {
    id: "S74",
    title:
      "A directory read is whole records, as Rstat has them, each with one size field.",
    manual: "read(9P)",
    async check(trial) {
      const session = await trial.session();
      await session.mkdir("d");
      await session.make("d/f", { data: "text" });
      await session.mkdir("d/sub", 0o711);
      await session.make("d/€", { perm: 0o600 });
      const fid = await session.openPath("d");
      const records = await session.records(fid);
      const members = records.flatMap(membersOf);
      const names = members.map(({ name }) => name);
      equal(names.toSorted(), ["f", "sub", "€"], "the names");
      let data = records.map(hex).join("");
      for (const name of names) {
        const rstat = await session.do(
          T.stat(await session.walkTo(`d/${name}`)),
        );
        // The record follows size, type, tag and n[2].
        const record = hex(session.frameOf(rstat).subarray(9));
        const listed = data.slice(0, record.length);
        const what = `the record of ${name}, without type and dev`;
        equal(withoutKernel(listed), withoutKernel(record), what);
        data = data.slice(record.length);
      }
      equal(data, "", "what is behind the records");
    },
  },
  {
    id: "S75",
    title:
      "In a directory, offset 0 starts over; the previous end goes on; any other offset: error.",
    manual: "read(9P)",
    async check(trial) {
      const { session, largest } = await makeMembers(trial);
      const fid = await session.openPath("d");
      const first = await session.read(fid, 0, largest * 2);
      const second = await session.read(fid, first.length, largest * 2);
      const end = first.length + second.length;
      for (const offset of [1, first.length, end - 1, end + 1, 10 * end]) {
        await session.refuses(T.read(fid, offset, largest * 2), BAD_OFFSET);
      }
      equal(await session.read(fid, 0, largest * 2), first, "the first read");
      const wrong = T.read(fid, end, largest * 2);
      if (end !== first.length) await session.refuses(wrong, BAD_OFFSET);
      equal(
        await session.read(fid, first.length, largest * 2),
        second,
        "the second read",
      );
      const names = (await session.list(fid)).map(({ name }) => name);
      equal(names.toSorted(), NAMES.toSorted(), "the names of a new start");
      const fresh = await session.openPath("d");
      await session.refuses(T.read(fresh, first.length), BAD_OFFSET);
    },
  },
  {
    id: "S76",
    title:
      "A count too small for the next record: 0 bytes at an offset above 0; at offset 0 error or 0 bytes. A count of 0: 0 bytes.",
    manual: "read(9P)",
    async check(trial) {
      const { session, largest } = await makeMembers(trial);
      const fid = await session.openPath("d");
      equal(
        (await session.read(fid, 0, 0)).length,
        0,
        "bytes for a count of 0",
      );
      for (const count of [1, 2, 40]) {
        const reply = await session.ask(T.read(fid, 0, count));
        if (!trial.strict && reply !== END && reply.type === "Rread") {
          equal(reply.data.length, 0, `bytes for a count of ${count}`);
        } else {
          session.refused(reply, `Tread count ${count}`, "Invalid argument");
        }
      }
      const { length } = await session.read(fid, 0, largest);
      ensure(length > 0, "0 bytes for a first record that fits", "it");
      for (const count of [0, 1, 40]) {
        const data = await session.read(fid, length, count);
        equal(data.length, 0, `bytes at ${length} for a count of ${count}`);
      }
      const rest = await session.read(fid, length, 8000);
      const next = membersOf(rest).length;
      ensure(
        next > 0,
        "no members after a count that was too small",
        "the rest",
      );
    },
  },
  {
    id: "S77",
    title:
      "The listing with every count from the largest record on has each name once; also while other names are created and removed.",
    manual: "read(9P)",
    async check(trial) {
      const { session, largest } = await makeMembers(trial);
      const wanted = NAMES.toSorted();
      const fid = await session.openPath("d");
      const all = 12 * largest;
      // Every count up to two records, then larger steps up to all records at
      // once.
      for (
        let count = largest;
        count < all;
        count += count < 2 * largest ? 1 : 41
      ) {
        const names = (await session.list(fid, count)).map(({ name }) => name);
        equal(names.toSorted(), wanted, `the names by a count of ${count}`);
      }
      for (const count of [largest, largest + 30, 3 * largest]) {
        const names = await listAmidChanges(session, fid, count);
        const twice = names.filter((name, at) => names.indexOf(name) !== at);
        const kept = names.filter((name) => name.startsWith("m")).toSorted();
        const isRight = twice.length === 0 && `${kept}` === `${wanted}`;
        if (!isRight && !trial.strict) {
          skip(
            "right while nothing changes; amid changes, of which the manual " +
              "promises nothing, names are lost or come twice",
          );
        }
        equal(twice, [], "names that came twice");
        equal(kept, wanted, `amid changes, by a count of ${count}`);
      }
    },
  },
];

/**
 * Returns a record in hexadecimal without `type[2] dev[4]`, which the manual
 * leaves to the kernel.
 */
function withoutKernel(record: string): string {
  return record.slice(0, 4) + record.slice(16);
}

/** Lists a directory, and creates and removes other names between the reads. */
async function listAmidChanges(
  session: Session,
  fid: number,
  count: number,
): Promise<string[]> {
  const names: string[] = [];
  for (let i = 0; i < 4; i++) await session.make(`d/old${i}`);
  let offset = 0;
  for (let turn = 0;; turn++) {
    const data = await session.read(fid, offset, count);
    if (data.length === 0) break;
    offset += data.length;
    names.push(...membersOf(data).map(({ name }) => name));
    const dir = await session.walkTo("d");
    await session.create(dir, `new${turn}`, DMDIR + 0o755, OREAD);
    await session.clunk(dir);
    if (turn < 4) await session.remove(await session.walkTo(`d/old${turn}`));
  }
  for (const name of await session.names("d")) {
    if (name.startsWith("m")) continue;
    await session.remove(await session.walkTo(`d/${name}`));
  }
  return names;
}
