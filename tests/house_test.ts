// The rules of the house that a machine can hold: what imports what, which
// file may touch a runtime, how long a file may be.
import { assertEquals } from "@std/assert";
import { dirname, join } from "node:path/posix";

const MAX_LINES = 700;
const MAX_EXAMPLE_LINES = 60;

/** What each layer may import besides itself. Tests and benches: anything. */
const LAYERS: Record<string, string[]> = {
  codec: [],
  transport: ["codec"],
  server: ["codec", "transport"],
  client: ["codec", "transport"],
  fs: ["codec", "server"],
  mod: ["codec", "transport", "server", "client", "fs"],
  conformance: ["codec", "transport"],
  examples: ["mod", "conformance"],
};

/** Layers that may name a runtime, Deno, Bun or Node; the rest is portable. */
const RUNTIME_LAYERS = ["transport", "examples"];

/** The kit is published, so it is a layer and no test. */
function layerOf(path: string): string {
  if (path.startsWith("tests/conformance/")) return "conformance";
  return path.split(/[/.]/)[0] ?? "";
}

interface Source {
  path: string;
  layer: string;
  text: string;
  /** The text without comments. */
  code: string;
}

async function* typescriptFiles(folder = "."): AsyncGenerator<string> {
  for await (const entry of Deno.readDir(folder)) {
    const path = join(folder, entry.name);
    const isHidden = entry.name.startsWith(".");
    if (isHidden || ["coverage", "node_modules"].includes(entry.name)) continue;
    if (path === "tests/testdata") continue;
    if (entry.isDirectory) yield* typescriptFiles(path);
    else if (path.endsWith(".ts")) yield path;
  }
}

async function read(path: string): Promise<Source> {
  const text = await Deno.readTextFile(path);
  const code = text
    .replace(/^\s*\/\*[\s\S]*?\*\//gm, "")
    .replace(/^\s*\/\/.*$/gm, "");
  return { path, layer: layerOf(path), text, code };
}

const files: Source[] = [];
for await (const path of typescriptFiles()) files.push(await read(path));
const sources = files.filter(({ layer }) => layer in LAYERS);

function* specifiers(code: string): Generator<string> {
  const pattern =
    /\bfrom\s+["']([^"']+)["']|^import\s+["']([^"']+)["']|\bimport\(\s*["']([^"']+)["']/gm;
  for (const [, from, bare, dynamic] of code.matchAll(pattern)) {
    yield from ?? bare ?? dynamic ?? "";
  }
}

/** Lists `FILE: what` of every breach, so that one run shows them all. */
function assertNone(breaches: string[]): void {
  assertEquals(breaches, []);
}

Deno.test("house: sources and examples import by relative path only", () => {
  assertNone(sources.flatMap(({ path, layer, code }) =>
    [...specifiers(code)]
      .filter((name) => !/^\.\.?\/.*\.ts$/.test(name))
      // Built into every runtime that matters, so no dependency.
      .filter((name) =>
        !(/^(transport|examples)$/.test(layer) && name.startsWith("node:"))
      )
      .map((name) => `${path}: imports "${name}"`)
  ));
});

Deno.test("house: imports go one way", () => {
  assertNone(sources.flatMap(({ path, layer, code }) =>
    [...specifiers(code)]
      .filter((name) => name.startsWith("."))
      .map((name) => join(dirname(path), name))
      .filter((target) => {
        const to = layerOf(target);
        return to !== layer && !LAYERS[layer]?.includes(to);
      })
      .map((target) => `${path}: imports "${target}"`)
  ));
});

Deno.test("house: only transport names a runtime", () => {
  assertNone(
    sources
      .filter(({ layer }) => !RUNTIME_LAYERS.includes(layer))
      .filter(({ code }) => /\b(Deno|Bun|process)\.|["']node:/.test(code))
      .map(({ path }) => `${path}: names a runtime`),
  );
});

Deno.test("house: library sources do without `using`", () => {
  assertNone(
    sources
      .filter(({ layer }) => layer !== "examples")
      .filter(({ code }) => /(^|[{;])\s*(await )?using \w+ =/m.test(code))
      .map(({ path }) => `${path}: uses \`using\``),
  );
});

Deno.test("house: no file is too long", () => {
  assertNone(files.flatMap(({ path, layer, text }) => {
    const lines = text.split("\n").length - 1;
    const most = layer === "examples" ? MAX_EXAMPLE_LINES : MAX_LINES;
    return lines > most ? [`${path}: ${lines} lines, at most ${most}`] : [];
  }));
});

Deno.test("house: files are named in snake_case", () => {
  assertNone(
    files
      .map(({ path }) => path)
      .filter((path) => !/^([a-z0-9_]+\/)*[a-z0-9_]+\.ts$/.test(path)),
  );
});

Deno.test("house: no test is switched off or runs alone", () => {
  const pattern = new RegExp("\\.(skip|only)\\(|\\b(ignore|only): *true");
  assertNone(
    files
      .filter(({ layer }) => layer === "tests")
      .filter(({ code }) => pattern.test(code))
      .map(({ path }) => `${path}: a test is off or alone`),
  );
});

Deno.test("house: links in Markdown lead somewhere", async () => {
  const breaches: string[] = [];
  const pages = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"];
  for (const folder of ["bench", "examples", "tests", "tests/testdata"]) {
    pages.push(`${folder}/README.md`);
  }
  for (const page of pages) {
    const text = await Deno.readTextFile(page);
    for (const [, link] of text.matchAll(/\]\((?!https?:|#)([^)#]+)/g)) {
      const target = join(dirname(page), link ?? "");
      const isThere = await Deno.stat(target).then(() => true, () => false);
      if (!isThere) breaches.push(`${page}: ${link}`);
    }
  }
  assertNone(breaches);
});
