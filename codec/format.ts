// Formats messages for people, as plan9port's servers print them with -D.

import type { Message } from "./messages.ts";

/**
 * Maximum number of characters of a text, and of bytes of data, that are shown.
 */
const MOST = 64;

const decoder = new TextDecoder("utf-8", { fatal: true });
const lenient = new TextDecoder("utf-8", { ignoreBOM: true });

/**
 * Formats a message as one line: `Twalk tag 3 fid 0 newfid 1 wname [a b]`.
 *
 * Long data and long texts are cut. Control characters are escaped. Modes are
 * octal.
 *
 * @param message Any message.
 * @returns The line, without a newline.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { formatMessage } from "@ninep/ninep/codec";
 *
 * const line = formatMessage({ type: "Topen", tag: 3, fid: 1, mode: 0o21 });
 * assertEquals(line, "Topen tag 3 fid 1 mode 021");
 * ```
 */
export function formatMessage(message: Message): string {
  const { type, ...fields } = message;
  return [type, ...Object.entries(fields).map(formatEntry)].join(" ");
}

function formatEntry([name, value]: [string, unknown]): string {
  return `${name} ${formatValue(name, value)}`;
}

function formatValue(name: string, value: unknown): string {
  if (value instanceof Uint8Array) return formatData(value);
  if (Array.isArray(value)) {
    return `[${value.map((item) => formatValue(name, item)).join(" ")}]`;
  }
  if (typeof value === "object" && value !== null) {
    return `{${Object.entries(value).map(formatEntry).join(" ")}}`;
  }
  if (typeof value === "string") return formatText(value);
  const isBits = name === "mode" || name === "perm";
  return isBits && typeof value === "number"
    ? `0${value.toString(8)}`
    : String(value);
}

/** Formats a text. A plain word has no quotes; any other text has quotes. */
function formatText(text: string): string {
  const cut = text.length > MOST ? `${text.slice(0, MOST)}…` : text;
  return /^[\p{L}\p{N}./+_-]+$/u.test(cut) ? cut : quote(cut);
}

/**
 * Formats data: the number of bytes, followed by the data as text, or as hex if
 * they are not text.
 */
function formatData(data: Uint8Array): string {
  // The cut does not divide a character of UTF-8.
  let end = Math.min(data.length, MOST);
  while (end > MOST - 4 && (data[end] & 0xc0) === 0x80) end--;
  const start = data.subarray(0, end);
  const rest = data.length > MOST ? "…" : "";
  return `${data.length} ${printableText(start) ?? hexOf(start)}${rest}`;
}

function printableText(bytes: Uint8Array): string | undefined {
  let text: string;
  try {
    text = decoder.decode(bytes);
  } catch {
    return undefined;
  }
  return /[^\P{Cc}\n\t]/u.test(text) ? undefined : quote(text);
}

/**
 * Quotes the first bytes of a stream as text. A long text is cut, and control
 * characters are escaped.
 */
export function quoteStart(bytes: Uint8Array): string {
  const text = lenient.decode(bytes.subarray(0, MOST));
  return quote(bytes.length > MOST ? `${text}…` : text);
}

/** Puts a text in quotes and escapes unsafe characters. */
export function quote(text: string): string {
  return printable(JSON.stringify(text));
}

function hexOf(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0"))
    .join("");
}

/**
 * Characters that control a terminal, break a line, or change the order in
 * which a line is shown: control characters (also those from U+0080 to U+009F),
 * halves of surrogate pairs, line separators, and marks of the writing
 * direction.
 */
const UNSAFE = /[\p{Cc}\p{Cs}\p{Zl}\p{Zp}\p{Bidi_Control}]/gu;

/**
 * Makes a text safe to print in one line. Names come from the peer, and the
 * message of an error contains names and texts of the peer. Characters that
 * control a terminal, break a line or change the direction of writing are
 * escaped, as in `\u001b[31m`. All other characters stay unchanged.
 *
 * @param text Any text.
 * @returns The text in one line, without such characters.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { printable } from "@ninep/ninep/codec";
 *
 * assertEquals(printable("a\nb\x1b[2J"), "a\\nb\\u001b[2J");
 * ```
 */
export function printable(text: string): string {
  return text.replace(UNSAFE, (unit) => {
    const code = unit.charCodeAt(0);
    return code < 0x20
      ? JSON.stringify(unit).slice(1, -1) // Such as \n.
      : `\\u${code.toString(16).padStart(4, "0")}`;
  });
}
