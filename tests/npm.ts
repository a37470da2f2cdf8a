// Makes a package for npm out of the sources: JavaScript and declarations, by
// TypeScript's own compiler. What users get by `npx jsr add` is made in the same
// way.
//
//     deno task npm [FOLDER]        (FOLDER is .npm by default)
//
// `npm install FOLDER` then installs it into a project.
import config from "../deno.json" with { type: "json" };

const TYPESCRIPT = "typescript@7.0.2";
const folder = Deno.args[0] ?? ".npm";
const root = new URL("../", import.meta.url).pathname;

/** Runs a command, and ends this process with its code if it fails. */
async function run(command: string, ...args: string[]): Promise<void> {
  const child = new Deno.Command(command, { args, cwd: root }).spawn();
  const { code } = await child.status;
  if (code !== 0) Deno.exit(code);
}

/** Returns the name of a compiled module. */
function compiled(path: string, extension: string): string {
  return path.replace(/\.ts$/, extension);
}

await Deno.remove(folder, { recursive: true }).catch(() => {});
await run(
  "npx",
  ...["--yes", "--package", TYPESCRIPT, "tsc"],
  ...["--outDir", folder, "--rootDir", ".", "--declaration"],
  ...["--module", "esnext", "--moduleResolution", "bundler"],
  ...["--target", "es2022"],
  ...["--lib", "esnext,dom,dom.iterable", "--types", ""],
  ...["--strict", "--skipLibCheck", "--rewriteRelativeImportExtensions"],
  ...Object.values(config.exports),
);

const exports = Object.fromEntries(
  Object.entries(config.exports).map(([name, path]) => [name, {
    types: compiled(path, ".d.ts"),
    default: compiled(path, ".js"),
  }]),
);
const manifest = {
  name: config.name,
  version: config.version,
  description: "A 9P client and server",
  license: config.license,
  type: "module",
  sideEffects: false,
  exports,
  engines: { node: ">=24" },
};
await Deno.writeTextFile(
  `${folder}/package.json`,
  `${JSON.stringify(manifest, undefined, 2)}\n`,
);
for (const name of ["README.md", "LICENSE"]) {
  await Deno.copyFile(`${root}/${name}`, `${folder}/${name}`);
}
console.log(`made ${config.name} ${config.version} in ${folder}`);
