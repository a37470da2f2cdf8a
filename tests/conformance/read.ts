// S70 to S73: reads of files.

import { ORDWR, OWRITE } from "../../codec.ts";
import type { Rule } from "./rule.ts";
import { equal } from "./check.ts";
import { T } from "./requests.ts";
import { END } from "./wire.ts";

const EMPTY = new Uint8Array(0);

export const readRules: readonly Rule[] = [
  {
    id: "S70",
    title:
      "Tread on a fid that is not open, or open with OWRITE: error. (Function files open implicitly, functions.md 8.)",
    manual: "read(9P)",
    async check(trial) {
      const session = await trial.session();
      await session.make("f", { data: "text" });
      const fid = await session.walkTo("f");
      const reply = await session.ask(T.read(fid));
      // Some servers open the file at the first read.
      if (trial.strict || reply === END || reply.type !== "Rread") {
        session.refused(reply, "Tread, fid not open", "bad use of fid");
      }
      const writer = await session.openPath("f", OWRITE);
      await session.refuses(T.read(writer), "bad use of fid");
    },
  },
  {
    id: "S71",
    title: "Tread at or past the end: 0 bytes.",
    manual: "read(9P)",
    async check(trial) {
      const session = await trial.session();
      await session.make("f", { data: "text" });
      await session.make("empty");
      const fid = await session.openPath("f", ORDWR);
      for (const offset of [4, 5, 1000, 2 ** 31, 2 ** 32, 2 ** 40]) {
        equal(
          await session.read(fid, offset),
          EMPTY,
          `the bytes at ${offset}`,
        );
      }
      const empty = await session.openPath("empty");
      equal(await session.read(empty), EMPTY, "the bytes of an empty file");
    },
  },
  {
    id: "S72",
    title: "Tread across the end: the bytes there are.",
    manual: "read(9P)",
    async check(trial) {
      const session = await trial.session();
      await session.make("f", { data: "0123456789" });
      const fid = await session.openPath("f");
      equal(await session.text(fid, 7, 100), "789", "100 bytes at 7");
      equal(await session.text(fid, 9, 2), "9", "2 bytes at 9");
      equal(await session.text(fid, 0, 10), "0123456789", "10 bytes at 0");
      equal(await session.text(fid, 3, 4), "3456", "4 bytes at 3");
      equal(await session.text(fid, 3, 0), "", "0 bytes at 3");
    },
  },
  {
    id: "S73",
    title:
      "Offsets of 2^53 + 1 and 2^63: exact arithmetic; 0 bytes, or a clean error from 2^63 on.",
    manual: "read(9P)",
    async check(trial) {
      const session = await trial.session();
      await session.make("f", { data: "text" });
      const fid = await session.openPath("f");
      for (const offset of [2n ** 53n + 1n, 2n ** 62n, 2n ** 63n - 1n]) {
        equal(
          await session.read(fid, offset),
          EMPTY,
          `the bytes at ${offset}`,
        );
      }
      for (const offset of [2n ** 63n, 2n ** 63n + 2n, 2n ** 64n - 1n]) {
        for (const count of [1, 0xffffffff]) {
          const read = T.read(fid, offset, count);
          const reply = await session.ask(read);
          if (reply !== END && reply.type === "Rread") {
            equal(reply.data, EMPTY, `the bytes at ${offset}`);
          } else {
            session.refused(reply, `Tread at ${offset}`, "illegal offset");
          }
        }
      }
      equal(await session.text(fid), "text", "at 0, afterwards");
    },
  },
];
