// S118 to S126: function files.

import { ORDWR, OREAD, OTRUNC, OWRITE } from "../../codec.ts";
import type { Rule } from "./rule.ts";
import { ensure, equal, fail, mustDiffer, show } from "./check.ts";
import { bytesOf, T } from "./requests.ts";
import type { Session } from "./session.ts";
import type { Trial } from "./trial.ts";
import { describe, END, type ReplyOrEnd } from "./wire.ts";

/** The error object of a failed function. */
interface Envelope {
  class: string;
  argv: unknown[];
  str: string;
}

function isEnvelope(value: unknown): value is Envelope {
  return typeof value === "object" && value !== null &&
    "class" in value && typeof value.class === "string" &&
    "argv" in value && Array.isArray(value.argv) &&
    "str" in value && typeof value.str === "string";
}

/** Parses the JSON of an error; fails unless it is an error object. */
function envelope(event: ReplyOrEnd): Envelope {
  if (event === END || event.type !== "Rerror") {
    fail(describe(event), "an error whose text is JSON");
  }
  const value = json(event.ename);
  if (!isEnvelope(value)) {
    fail(describe(event), "an object with class, argv, str");
  }
  return value;
}

function json(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return fail(show(text), "JSON");
  }
}

/** Calls a function by Tcall, and parses the value as JSON. */
async function call(
  session: Session,
  fid: number,
  text: string,
  data?: string | Uint8Array,
): Promise<unknown> {
  return json(await session.call(fid, text, data));
}

/** Calls a function by a write and a read on one open fid. */
async function writeAndRead(
  session: Session,
  fid: number,
  args: string,
): Promise<unknown> {
  await session.write(fid, args);
  return json(await session.text(fid));
}

/** Starts a session, and opens a function for reading and writing. */
async function openFunction(
  trial: Trial,
  name: "add" | "serial" | "ticker",
): Promise<{ session: Session; fid: number }> {
  const session = await trial.root();
  return { session, fid: await trial.openFixture(session, name, ORDWR) };
}

export const functionRules: readonly Rule[] = [
  {
    id: "S118",
    title:
      "Tcall with argv, kwarg, data and data_arg reaches the function; Rcall has err 0 and the value.",
    manual: "Tcall, Rcall",
    async check(trial) {
      const session = await trial.root();
      const fid = await trial.callable(session, "add");
      equal(await call(session, fid, '{"argv": [17, 25]}'), 42, "argv");
      const kwarg =
        '{"argv": [], "kwarg": {"a": 17, "b": 25}, "data_arg": "data"}';
      equal(await call(session, fid, kwarg), 42, "kwarg");
      const both = '{"argv": [17], "kwarg": {"b": 25}}';
      equal(await call(session, fid, both), 42, "argv and kwarg");
      const measure = await trial.fixture(session, "measure");
      equal(
        await call(session, measure, "{}", Uint8Array.of(0, 255, 10)),
        { data: 3 },
        "data",
      );
      equal(
        await call(session, measure, '{"data_arg": "payload"}', "12345"),
        { payload: 5 },
        "data and data_arg",
      );
      equal(
        await call(
          session,
          measure,
          '{"kwarg": {"x": "four"}, "data_arg": "x"}',
          "12345",
        ),
        { x: 5 },
        "data in the place of a kwarg",
      );
      equal(await call(session, measure, '{"data_arg": "x"}'), {}, "no data");
    },
  },
  {
    id: "S119",
    title:
      "Tcall on a plain file or a directory: Rcall with err 255 (or an error).",
    manual: "Tcall, Rcall",
    async check(trial) {
      const session = await trial.session();
      await trial.callable(session, "add");
      await session.make("f", { data: "text" });
      for (const fid of [await session.walkTo("f"), await session.walkTo("")]) {
        const reply = await session.ask(T.call(fid, '{"argv": [1, 2]}'));
        if (trial.strict || reply !== END && reply.type === "Rcall") {
          const { err, data } = session.succeeded(T.call(fid, ""), reply);
          equal(err, 255, "err");
          equal(data.length, 0, "the number of bytes");
        } else {
          session.refused(reply, "Tcall");
        }
      }
      const unknown = T.call(session.newFid(), "{}");
      const reply = await session.ask(unknown);
      if (trial.strict) envelope(reply);
      else session.refused(reply, "Tcall of no fid");
    },
  },
  {
    id: "S120",
    title:
      "A function that fails under Tcall: Rerror whose text is a JSON object with class, argv, str.",
    manual: "Tcall, Rcall",
    async check(trial) {
      const session = await trial.root();
      const fid = await trial.callable(session, "fail");
      const error = envelope(await session.ask(T.call(fid, "{}")));
      ensure(error.class !== "", "an empty class", "a name");
      const stack = /\n\s+(at|File) /.test(error.str);
      ensure(!stack, show(error.str), "a message without the stack");
      await session.quiet();
    },
  },
  {
    id: "S121",
    title:
      "Twrite then Tread on one fid gives the value; reads at higher offsets go on in it; a second read at 0 gives it again without a call.",
    manual: "read(9P)",
    async check(trial) {
      const { session, fid } = await openFunction(trial, "add");
      equal(
        await writeAndRead(session, fid, '{"a": 17, "b": 25}'),
        42,
        "the value",
      );
      await session.write(fid, '{"a": "some ", "b": "words"}');
      const start = await session.text(fid, 0, 5);
      const rest = await session.text(fid, 5);
      equal(json(start + rest), "some words", "the value, in two reads");
      const { length } = start + rest;
      equal(await session.text(fid, length), "", "at the end of the value");
      equal(await session.text(fid, 0, 5), start, "the start, again");

      const calls = await openFunction(trial, "serial");
      const first = await writeAndRead(calls.session, calls.fid, "{}");
      const again = json(await calls.session.text(calls.fid));
      equal(again, first, "a second read at 0");
      const next = await writeAndRead(calls.session, calls.fid, "{}");
      mustDiffer(next, first, "the value of a second call");
    },
  },
  {
    id: "S122",
    title: "A call-on-read file calls at every read at offset 0.",
    manual: "read(9P)",
    async check(trial) {
      const session = await trial.root();
      const fid = await trial.openFixture(session, "ticker");
      const seen = new Set<string>();
      for (let i = 0; i < 5; i++) {
        const text = await session.text(fid);
        ensure(text !== "", "no value", "one");
        seen.add(text);
        equal(await session.text(fid, bytesOf(text).length), "", "its end");
      }
      equal(seen.size, 5, "the number of different values of 5 reads");
    },
  },
  {
    id: "S123",
    title:
      "Two clients that each write and read on their own open fid do not mix.",
    manual: "read(9P)",
    async check(trial) {
      const one = await openFunction(trial, "add");
      const two = await openFunction(trial, "add");
      for (let i = 0; i < 5; i++) {
        await one.session.write(one.fid, `{"a": ${i}, "b": 100}`);
        await two.session.write(two.fid, `{"a": ${i}, "b": 200}`);
        const first = json(await one.session.text(one.fid));
        const second = json(await two.session.text(two.fid));
        equal([first, second], [i + 100, i + 200], "the values");
        equal(
          json(await one.session.text(one.fid)),
          i + 100,
          "the first, again",
        );
      }
      // Two fids of one client do not mix either.
      const fid = await trial.openFixture(one.session, "add", ORDWR);
      await one.session.write(fid, '{"a": 1, "b": 2}');
      equal(
        json(await one.session.text(one.fid)),
        104,
        "the first fid's value",
      );
      equal(json(await one.session.text(fid)), 3, "the second fid's value");
    },
  },
  {
    id: "S124",
    title:
      "The exit error: reply, then that connection is closed; a server that the function stops ends.",
    manual: "Tcall, Rcall",
    async check(trial) {
      const witness = await trial.root();
      const session = await trial.root();
      const fid = await trial.fixture(session, "exit");
      const reply = await session.ask(T.call(fid, "{}"));
      if (trial.strict) equal(envelope(reply).class, "Plan9Exit", "the class");
      else session.refused(reply, "Tcall");
      await session.ends();
      await witness.quiet();
      await trial.mustServeOthers();
      if (trial.expendable === undefined) return;
      const { connect, stop } = await trial.expendable();
      const caller = await trial.connect(connect);
      const other = await trial.connect(connect);
      for (const session of [caller, other]) {
        await session.version();
        await trial.attach(session, 0, trial.uname);
      }
      await caller.walk(0, 5, ...stop.split("/"));
      envelope(await caller.ask(T.call(5, "{}")));
      await caller.ends();
      await other.ends();
    },
  },
  {
    id: "S125",
    title:
      "Missing members take their defaults; wrong types, members like `__proto__`, and texts that are too long give an error.",
    manual: "Tcall, Rcall",
    async check(trial) {
      const session = await trial.root();
      const add = await trial.callable(session, "add");
      const measure = await trial.fixture(session, "measure");
      for (const text of ["", "{}", '{"more": 1}', '{"argv": []}']) {
        equal(
          await call(session, measure, text),
          {},
          `the value of ${show(text)}`,
        );
      }
      for (const text of WRONG_TEXTS) {
        const reply = await session.ask(T.call(add, text));
        if (trial.strict) envelope(reply);
        else session.refused(reply, `Tcall ${show(text)}`);
      }
      await session.refuses(T.call(measure, '{"data_arg": "__proto__"}', "x"));
      const fid = await trial.openFixture(session, "add", ORDWR);
      for (
        const text of ["no JSON", '{"a": 1, "__proto__": {"b": 2}}', "[1, 2]"]
      ) {
        await session.write(fid, text);
        await session.refuses(T.read(fid));
      }
      equal(
        await call(session, add, '{"argv": [17, 25]}'),
        42,
        "then, the value",
      );
      if (trial.strict) await tooLong(session, fid);
    },
  },
  {
    id: "S126",
    title:
      "Write by one connection and read by the next (`9p write`, `9p read`); `>` and `cat` through 9pfuse, with its extra opens with OTRUNC: the value comes.",
    manual: "read(9P)",
    async check(trial) {
      const reads = async () => {
        const session = await trial.root();
        const fid = await trial.openFixture(session, "add", OREAD);
        const value = json(await session.text(fid));
        session.close();
        return value;
      };
      // 9p write, then 9p read.
      const writer = await trial.root();
      const fid = await trial.openFixture(writer, "add", OWRITE | OTRUNC);
      await writer.write(fid, '{"a": 17, "b": 25}\n');
      await writer.clunk(fid);
      writer.close();
      equal(await reads(), 42, "the value after `9p write`");
      // 9pfuse truncates by opening another fid before the write, and by a
      // Twstat of the length or one more open after it.
      const fuse = await trial.root();
      const truncate = async () => {
        const fid = await trial.openFixture(fuse, "add", OWRITE | OTRUNC);
        await fuse.clunk(fid);
      };
      await truncate();
      const file = await trial.openFixture(fuse, "add", OWRITE);
      await truncate();
      const cut = T.wstat(file, { length: 0n });
      if (trial.strict) await fuse.do(cut);
      else await fuse.ask(cut); // A server without Twstat is right as well.
      await fuse.write(file, '{"a": 1, "b": 2}\n');
      await fuse.clunk(file);
      equal(await reads(), 3, "the value after `>`");
      await truncate();
      equal(await reads(), 3, "the value after another open with OTRUNC");
    },
  },
];

/** Wrong texts of a Tcall, each with one fault. */
const WRONG_TEXTS = [
  "no JSON",
  "[]",
  "1",
  '"text"',
  '{"argv": {}}',
  '{"argv": 1}',
  '{"kwarg": []}',
  '{"kwarg": "a"}',
  '{"argv": [1, 2], "data_arg": 1}',
  '{"kwarg": {"a": 1, "b": 2, "__proto__": {}}}',
  '{"kwarg": {"a": 1, "b": {"constructor": 1}}}',
  '{"argv": [1, {"x": [{"prototype": 1}]}]}',
  `{"argv": [1, ${"[".repeat(100)}${"]".repeat(100)}]}`,
];

/** Writes an endless argument text. Fails unless the server refuses a write. */
async function tooLong(session: Session, fid: number): Promise<void> {
  const piece = " ".repeat(8000);
  session.mute();
  let offset = 0;
  for (; offset < 4_000_000; offset += piece.length) {
    const reply = await session.ask(T.write(fid, piece, offset));
    if (reply === END || reply.type !== "Rwrite") {
      session.mute(false);
      session.refused(reply, "Twrite", "file too big");
      return;
    }
  }
  fail(`${offset} bytes of arguments taken`, "an error for too many");
}
