// The command line of examples/conformance.ts.

import type { ConformanceOptions } from "./case.ts";

/** The help text: the syntax of the command line. */
export const usage: string = `\
Usage: conformance.ts ADDRESS [OPTION…]

  --aname NAME     tree to attach to
  --uname NAME     user who attaches, glenda by default
  --dir NAME       work in this directory of the tree, not in its root
  --only IDS       run these cases only, such as S35,S39
  --skip IDS       leave these out
  --patience MS    longest time that a reply may take, 3000 by default; more
                   for a slow server
  --strict         take only the answers of this library
  --json           a line of JSON for each case, and one for the counts
  --help           print this`;

/** The parsed command line. */
export interface Arguments {
  /** Address of the server; undefined when `--help` is given. */
  readonly address: string | undefined;
  /** True when the output is JSON. */
  readonly json: boolean;
  /** The options of the run. */
  readonly options: ConformanceOptions;
}

/** Longest patience: an hour. */
const MAX_MS = 3_600_000;
/** An option and its value in one word. */
const ASSIGNMENT = /^(--(?:aname|uname|dir|only|skip|patience))=(.*)$/s;

/**
 * Parses a command line. Ids of cases may be in lower case and may have blanks
 * around them. The parser does not check that the cases exist.
 *
 * @param words The words after the program's name.
 * @throws {TypeError} The words do not match {@linkcode usage}.
 */
export function parseArguments(words: readonly string[]): Arguments {
  const options: Mutable<ConformanceOptions> = {};
  const addresses: string[] = [];
  const seen = new Set<string>();
  let json = false;
  let help = false;
  const rest = [...words];
  for (let word; (word = rest.shift()) !== undefined;) {
    const [, option = word, value] = ASSIGNMENT.exec(word) ?? [];
    const isOption = option.startsWith("-");
    if (isOption && seen.has(option)) throw wrong(`${option} is there twice`);
    seen.add(option);
    const text = () => value ?? next(option, rest);
    switch (option) {
      case "--aname":
        options.aname = text();
        break;
      case "--uname":
        options.uname = text();
        break;
      case "--dir":
        options.dir = text();
        break;
      case "--only":
        options.only = idsOf(option, text(), rest);
        break;
      case "--skip":
        options.skip = idsOf(option, text(), rest);
        break;
      case "--patience":
        options.patience = millisecondsOf(text());
        break;
      case "--strict":
        options.strict = true;
        break;
      case "--json":
        json = true;
        break;
      case "--help":
        help = true;
        break;
      default:
        if (isOption) throw wrong(`there is no option "${word}"`);
        addresses.push(word);
    }
  }
  const [address, more] = addresses;
  if (help) return { address: undefined, json, options };
  if (address === undefined) throw wrong("there is no ADDRESS");
  if (more !== undefined) throw wrong(`"${more}" is one word too many`);
  return { address, json, options };
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

function wrong(detail: string): TypeError {
  return new TypeError(`Cannot read the command line: ${detail}`);
}

/** Takes the next word as the value of an option. */
function next(option: string, rest: string[]): string {
  const word = rest.shift();
  if (word === undefined || word.startsWith("--")) {
    throw wrong(`${option} has no value`);
  }
  return word;
}

/**
 * Parses a list of ids. A word that ends with a comma continues in the next
 * word.
 */
function idsOf(option: string, list: string, rest: string[]): string[] {
  let all = list;
  while (/,\s*$/.test(all)) all += next(option, rest);
  return all.split(",").map((id) => id.trim().toUpperCase());
}

function millisecondsOf(text: string): number {
  const number = Number(text);
  if (!/^\d+$/.test(text) || number < 1 || number > MAX_MS) {
    throw wrong(`--patience is "${text}", not 1 to ${MAX_MS}`);
  }
  return number;
}
