// The rules of the repository that a program can check: the direction of
// imports,
// the files that may use a runtime, the length of files.
import { assert, assertEquals } from "@std/assert";
import { dirname, join } from "node:path/posix";

const MAX_LINES = 700;
/** The page in a browser is an application of several files. */
const MAX_PAGE_LINES = 100;
const MAX_EXAMPLE_LINES = 60;

/**
 * The layers that each layer may import, besides itself. Tests and benches may
 * import any.
 */
const LAYERS: Record<string, string[]> = {
  codec: [],
  transport: ["codec"],
  server: ["codec", "transport"],
  client: ["codec", "transport"],
  fs: ["codec", "transport", "server", "host", "remote"],
  host: ["codec", "transport", "server", "fs"],
  remote: ["codec", "transport", "server", "client", "fs"],
  mod: ["codec", "transport", "server", "client", "fs"],
  conformance: ["codec", "transport"],
  examples: ["mod", "conformance", "transport"],
  testing: ["mod"],
};

/**
 * Layers that may use a runtime: Deno, Bun or Node. The other layers are
 * portable.
 */
const RUNTIME_LAYERS = ["transport", "host", "examples"];

/**
 * The kit and the fixture are published, so they are layers and no tests. Two
 * trees of fs/ may import more than the others: `node:` modules, and the
 * client.
 */
function layerOf(path: string): string {
  const tree = /^fs\/(host|remote)[/.]/.exec(path)?.[1];
  if (tree !== undefined) return tree;
  if (path === "tests/testing.ts") return "testing";
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

/** Fails when there are breaches, and lists all of them. */
function assertNone(breaches: string[]): void {
  assertEquals(breaches, []);
}

Deno.test("house: sources and examples import by relative path only", () => {
  assertNone(sources.flatMap(({ path, layer, code }) =>
    [...specifiers(code)]
      .filter((name) => !/^\.\.?\/.*\.ts$/.test(name))
      // `node:` is built into every supported runtime, so it is no dependency.
      .filter((name) =>
        !(RUNTIME_LAYERS.includes(layer) && name.startsWith("node:"))
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

/** The doors: a file beside the folder of its name, which exports what others may use. */
const DOORS = ["codec", "transport", "server", "client"];

/** Names that a file exports itself, and those that it passes on. */
function exportsOf(path: string): Set<string> {
  const file = files.find((file) => file.path === path);
  const names = new Set<string>();
  const own =
    /^export (?:abstract |async )?(?:const|function|class|interface|type)\*? (\w+)/gm;
  for (const [, name = ""] of file?.code.matchAll(own) ?? []) names.add(name);
  const passed = /^export (?:type )?(?:\{([^}]*)\}|\*) from "([^"]+)"/gm;
  for (const [, list, from = ""] of file?.code.matchAll(passed) ?? []) {
    const passedOn = list === undefined
      ? exportsOf(join(dirname(path), from))
      : list.split(",").map((name) => name.trim().replace("type ", ""));
    for (const name of passedOn) if (name !== "") names.add(name);
  }
  return names;
}

Deno.test("house: what a door exports is imported through the door", () => {
  const doors = new Map(DOORS.map((door) => [door, exportsOf(`${door}.ts`)]));
  for (const names of doors.values()) assert(names.size > 10);
  const imports = /^import (?:type )?\{([^}]*)\} from "(\.[^"]+)"/gm;
  assertNone(
    sources.filter(({ path }) => !path.startsWith("tests/")).flatMap((
      { path, code },
    ) =>
      [...code.matchAll(imports)].flatMap(([, list = "", from = ""]) => {
        const target = join(dirname(path), from);
        const [room = ""] = target.split("/");
        const isInside = path.startsWith(`${room}/`) || path === `${room}.ts`;
        if (isInside || !target.includes("/")) return [];
        return list.split(",")
          .map((name) => name.trim().replace(/^type /, "").split(" as ")[0])
          .filter((name) => name && doors.get(room)?.has(name))
          .map((name) => `${path}: imports ${name} from "${target}"`);
      })
    ),
  );
});

/** The layers whose files import each other in one direction only. */
const ACYCLIC = [
  "codec",
  "transport",
  "server",
  "client",
  "fs",
  "host",
  "remote",
];

/**
 * Finds circles of imports, those of types included: each a path from a file
 * back to itself.
 */
function circlesOf(imports: ReadonlyMap<string, readonly string[]>): string[] {
  const circles: string[] = [];
  const finished = new Set<string>();
  const visit = (path: string, trail: readonly string[]) => {
    const index = trail.indexOf(path);
    if (index >= 0) circles.push([...trail.slice(index), path].join(" → "));
    if (index >= 0 || finished.has(path)) return;
    for (const target of imports.get(path) ?? []) {
      visit(target, [...trail, path]);
    }
    finished.add(path);
  };
  for (const path of imports.keys()) visit(path, []);
  return circles;
}

Deno.test("house: no files import each other in a circle", () => {
  const imports = new Map(
    sources
      .filter(({ layer }) => ACYCLIC.includes(layer))
      .map(({ path, code }): [string, string[]] => [
        path,
        [...specifiers(code)]
          .filter((name) => name.startsWith("."))
          .map((name) => join(dirname(path), name)),
      ]),
  );
  assert([...imports.values()].some((targets) => targets.length > 0));
  assertNone(circlesOf(imports));
  // The check must find a circle where there is one.
  const small = new Map([["a", ["b", "d"]], ["b", ["c"]], ["c", ["b"]]]);
  assertEquals(circlesOf(small), ["b → c → b"]);
  assertEquals(circlesOf(new Map([["a", ["a"]]])), ["a → a"]);
});

Deno.test("house: only transport and the tree of a host name a runtime", () => {
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

Deno.test("house: examples that meet a foreign server escape what it says", () => {
  assertNone(
    files
      .filter(({ layer }) => layer === "examples")
      .filter(({ code }) => /process\.argv\.slice/.test(code))
      .filter(({ code }) => /console\.(log|error)\([^"]*message/.test(code))
      .filter(({ code }) => !/console\.error\((ninep\.)?printable\(/.test(code))
      .map(({ path }) => `${path}: prints a message as it is`),
  );
});

Deno.test("house: no file is too long", () => {
  assertNone(files.flatMap(({ path, layer, text, code }) => {
    // Comments count only in an example, which is read as a whole.
    const counted = layer === "examples" ? text.trimEnd() : code;
    const lines = counted.split("\n").filter((line) =>
      layer === "examples" || line.trim() !== ""
    ).length;
    const most = path.startsWith("examples/browser/")
      ? MAX_PAGE_LINES
      : layer === "examples"
      ? MAX_EXAMPLE_LINES
      : MAX_LINES;
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

/** Returns the ids in a text, with all ids of a range such as `C-54 … C-67`. */
function idsIn(text: string): string[] {
  const ids: string[] = [];
  const pattern = /\b([PC])-(\d\d)(?:\s*[…–]\s*\1-(\d\d))?/g;
  for (const [, letter, first, last = first] of text.matchAll(pattern)) {
    for (let id = Number(first); id <= Number(last); id++) {
      ids.push(`${letter}-${String(id).padStart(2, "0")}`);
    }
  }
  return ids;
}

/**
 * A row of the table: ids, feature, solution here, tests. A cell may have a `|`
 * in code.
 */
const ROW = /^\| *([PC]-\d[^|]*)\|.*\|([^|]*)\|$/gm;

Deno.test("house: what the ancestors could do has a test that names it", async () => {
  const table = await Deno.readTextFile("tests/README.md");
  const breaches: string[] = [];
  let listed = 0;
  for (const [, cell = "", tests = ""] of table.matchAll(ROW)) {
    const ids = idsIn(cell);
    const missing = new Set(ids);
    const paths = [...tests.matchAll(/`([^`]+\.ts)`/g)]
      .map(([, path = ""]) =>
        files.some((file) => file.path === `tests/${path}`)
          ? `tests/${path}`
          : path
      );
    for (const path of paths) {
      const file = files.find((file) => file.path === path);
      if (file === undefined) {
        breaches.push(`${cell.trim()}: there is no ${path}`);
        continue;
      }
      const named = idsIn(file.text).filter((id) => ids.includes(id));
      for (const id of named) missing.delete(id);
      // An example need not name the capability.
      if (named.length === 0 && file.layer === "tests") {
        breaches.push(`${cell.trim()}: ${path} does not name it`);
      }
    }
    for (const id of missing) breaches.push(`${id}: no test names it`);
    for (const id of ids) {
      const most = id.startsWith("P") ? 48 : 93;
      const isOne = Number(id.slice(2)) >= 1 && Number(id.slice(2)) <= most;
      if (!isOne) breaches.push(`${id}: there is no such id`);
      listed++;
    }
  }
  assertNone(breaches);
  assert(listed > 0, "no table");
});
