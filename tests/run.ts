// Runs deno on the whole repository. It uses the real packages of @std if they
// are cached or can be downloaded within 3 seconds, and otherwise the stand-ins
// of tests/std. The tasks of deno.json use it:
//
//     tests/run.ts test|check|bench|doc|ok [ARGUMENT…]
//
// `test` without an argument runs all suites, several at a time.
import config from "../deno.json" with { type: "json" };

const PROBE = "tests/std_test.ts";
const PROBE_MS = 3_000;
const STAND_INS = "--import-map=tests/std/import_map.json";
const LOOPBACK = "127.0.0.1,[::1],localhost";
const ENTRIES = Object.values(config.exports);
/** The modules with examples in docstrings. */
const DOCUMENTED = [
  ...ENTRIES,
  ...["client", "codec", "fs", "server", "transport", "tests/conformance"],
];
/**
 * Suites that measure the memory of the whole process, so no other suite runs
 * beside them.
 */
const ALONE = [
  "tests/server/flood_test.ts",
  "tests/soak/leak_test.ts",
  "tests/soak/soak_test.ts",
];

/**
 * Suites that need all permissions: they make symbolic links, which Deno allows
 * only to a program that may read and write everything, mount a file system,
 * start any program, or change the environment.
 */
const PRIVILEGED = [
  "tests/client/spawn_test.ts",
  "tests/transport/tls_test.ts",
  "tests/transport/unix_worker_test.ts",
  "tests/fs/host/limits_test.ts",
  "tests/fs/host/links_test.ts",
];

/** The output and the exit code of a run of deno. */
interface Outcome {
  code: number;
  output: string;
}

/** Runs deno with the terminal of this process. */
async function deno(args: string[], env?: Record<string, string>) {
  const child = new Deno.Command(Deno.execPath(), {
    args,
    ...(env === undefined ? {} : { env }),
  }).spawn();
  return (await child.status).code;
}

/** Runs deno and returns its output. */
async function quietDeno(args: string[]): Promise<Outcome> {
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args,
    stdin: "null",
  }).output();
  const decoder = new TextDecoder();
  return { code, output: decoder.decode(stdout) + decoder.decode(stderr) };
}

/** Returns the flags for @std: none for the real packages. */
async function chooseStd(): Promise<string[]> {
  const child = new Deno.Command(Deno.execPath(), {
    args: ["cache", "--quiet", PROBE],
    stdin: "null",
    stdout: "null",
    stderr: "null",
  }).spawn();
  const timer = setTimeout(() => {
    try {
      child.kill("SIGKILL");
    } catch {
      // The process has just ended.
    }
  }, PROBE_MS);
  const { success } = await child.status;
  clearTimeout(timer);
  console.error(
    success
      ? "@std: the real packages"
      : "@std: the stand-ins of tests/std (the real packages are out of reach)",
  );
  return success ? [] : [STAND_INS];
}

/**
 * Runs the tests in a temporary folder of their own, where `Deno.makeTempDir`
 * puts its folders too, and with no right to anything else outside, unless they
 * need all permissions.
 */
async function test(std: string[], args: string[]): Promise<number> {
  const scratch = await Deno.makeTempDir({ prefix: "ninep_" });
  const permissions = args.some((word) => PRIVILEGED.includes(word))
    ? ["--allow-all"]
    : [
      `--allow-read=.,${scratch}`,
      `--allow-write=${scratch}`,
      // No narrower: a Unix socket would have to be named by its exact path.
      "--allow-net",
      `--allow-run=${Deno.execPath()}`,
      "--allow-env=NINEP_SOAK_SECONDS,NINEP_SOAK_SEED",
    ];
  // Ctrl-C ends the tests; this process stays to clean up after them.
  Deno.addSignalListener("SIGINT", () => {});
  try {
    return await deno([
      "test",
      "--no-prompt",
      ...permissions,
      ...std,
      ...args,
    ], { TMPDIR: scratch });
  } finally {
    await Deno.remove(scratch, { recursive: true });
  }
}

/** Runs all suites. */
async function testAll(std: string[]): Promise<number> {
  const later = [...PRIVILEGED, ...ALONE];
  const code = await test(std, ["--parallel", `--ignore=${later.join()}`]);
  const privileged = await test(std, PRIVILEGED);
  return await test(std, ALONE) || privileged || code;
}

/** Runs all checks and the tests; goes on after a failure. */
async function ok(std: string[], args: string[]): Promise<number> {
  const wrong = args.find((word) => word !== "--no-tests");
  if (wrong !== undefined) {
    console.error(
      `Usage: tests/run.ts ok [--no-tests]: there is no "${wrong}"`,
    );
    return 2;
  }
  const steps: [string, () => Promise<Outcome>][] = [
    ["fmt", () => quietDeno(["fmt", "--check"])],
    ["lint", () => quietDeno(["lint"])],
    ["check", () => quietDeno(["check", ...std])],
    ["doc --lint", () => quietDeno(["doc", "--lint", ...ENTRIES])],
    [
      "publish --dry-run",
      // The changes are usually not committed yet.
      () => quietDeno(["publish", "--dry-run", "--allow-dirty", ...std]),
    ],
    [
      "examples of docstrings",
      () =>
        quietDeno([
          ...["test", "--doc", "--no-prompt", `--allow-net=${LOOPBACK}`],
          ...[...std, ...DOCUMENTED],
        ]),
    ],
  ];
  const failed: string[] = [];
  for (const [name, step] of steps) {
    const { code, output } = await step();
    console.error(`${code === 0 ? "ok    " : "FAILED"} ${name}`);
    if (code === 0) continue;
    console.error(output);
    failed.push(name);
  }
  if (args.length === 0 && await testAll(std) !== 0) failed.push("test");
  console.error(failed.length ? `FAILED: ${failed.join(", ")}` : "All clean");
  return failed.length ? 1 : 0;
}

async function main(command = "", ...args: string[]): Promise<number> {
  switch (command) {
    case "test":
      return args.length === 0
        ? await testAll(await chooseStd())
        : await test(await chooseStd(), args);
    case "check":
      return await deno(["check", ...await chooseStd(), ...args]);
    case "bench":
      return await deno([
        "bench",
        "--no-prompt",
        `--allow-net=${LOOPBACK}`,
        // Some benches start a server in a process of its own.
        `--allow-run=${Deno.execPath()}`,
        "--allow-read=.",
        "--allow-env",
        ...await chooseStd(),
        ...args,
      ]);
    case "doc":
      return await deno([
        "doc",
        "--html",
        `--name=${config.name}`,
        "--output=.doc",
        ...ENTRIES,
        ...args,
      ]);
    case "ok":
      return await ok(await chooseStd(), args);
    default:
      console.error("Usage: tests/run.ts test|check|bench|doc|ok [ARGUMENT…]");
      return 2;
  }
}

Deno.exit(await main(...Deno.args));
