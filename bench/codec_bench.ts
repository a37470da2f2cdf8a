// Measures the time for one message: encode() into a new frame, encodeInto() a
// reused buffer, and decode(). Each message has typical values.
//
//     deno task bench bench/codec_bench.ts
//     bun run bench/codec_bench.ts

import { assertEquals } from "@std/assert";
import {
  decode,
  dialect9P2000,
  encode,
  encodeInto,
  type Message,
} from "../codec.ts";
import { messageVectors } from "../tests/codec/vectors.ts";
import { bench, run } from "./harness.ts";

// The vectors to use for types whose first vector is not typical.
const USUAL = [
  "Twalk one name",
  "Rwalk one qid",
  "Rread hello",
  "Twrite text",
  "Twstat rename",
];

const vectors = messageVectors();
const chosen = [...dialect9P2000.byType.keys()].map((type) => {
  const all = vectors.filter((vector) => vector.message.type === type);
  return all.find((vector) => USUAL.includes(vector.name)) ?? all[0];
});
const buffer = new Uint8Array(8192);

// Checks the results before timing them. The rounds below run every message
// before the first one is timed, because a server also handles mixed messages.
for (const { message, frame } of vectors) {
  assertEquals(encode(message), frame);
  assertEquals(buffer.slice(0, encodeInto(message, buffer)), frame);
  assertEquals(decode(frame), message);
}
for (let i = 0; i < 500; i++) {
  for (const { message, frame } of chosen) {
    encode(message);
    encodeInto(message, buffer);
    decode(frame);
  }
}

const subjects: [
  group: string,
  subject: (message: Message, frame: Uint8Array) => unknown,
][] = [
  ["encode", (message) => encode(message)],
  ["encodeInto", (message) => encodeInto(message, buffer)],
  ["decode", (_, frame) => decode(frame)],
];
for (const [group, subject] of subjects) {
  for (const { message, frame } of chosen) {
    const name = `${group} ${message.type}, ${frame.length} bytes`;
    bench({ name, group }, () => subject(message, frame));
  }
}

await run();
