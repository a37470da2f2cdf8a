// Runs examples as a new user does (P-18): by URL, from the checkout served
// over
// HTTP on the loopback interface, with an empty cache and no configuration.
//
//     deno run -A tests/by_url.ts EXAMPLE…      (default: examples/demo.ts)

const root = new URL("../", import.meta.url);

/** Answers a request with a file of the checkout. */
async function answer(request: Request): Promise<Response> {
  const { pathname } = new URL(request.url);
  try {
    const body = await Deno.readFile(new URL(`.${pathname}`, root));
    const type = pathname.endsWith(".ts") ? "application/typescript" : "";
    return new Response(body, { headers: { "content-type": type } });
  } catch {
    return new Response(`No such file: "${pathname}"`, { status: 404 });
  }
}

async function runByUrl(origin: string, example: string): Promise<boolean> {
  const scratch = await Deno.makeTempDir({ prefix: "ninep_" });
  try {
    const { success } = await new Deno.Command(Deno.execPath(), {
      args: [
        "run",
        "--no-prompt",
        "--allow-net",
        `--reload=${origin}`,
        `${origin}/${example}`,
      ],
      // Outside the checkout, so that deno finds no deno.json.
      cwd: scratch,
      env: { DENO_DIR: `${scratch}/cache` },
      stdin: "null",
    }).spawn().status;
    return success;
  } finally {
    await Deno.remove(scratch, { recursive: true });
  }
}

const examples = Deno.args.length ? Deno.args : ["examples/demo.ts"];
const server = Deno.serve(
  { hostname: "127.0.0.1", port: 0, onListen: () => {} },
  answer,
);
const origin = `http://127.0.0.1:${server.addr.port}`;
const failed: string[] = [];
for (const example of examples) {
  console.log(`${origin}/${example}`);
  if (!await runByUrl(origin, example)) failed.push(example);
}
await server.shutdown();
if (failed.length > 0) {
  console.error(`Cannot run by URL: ${failed.join(", ")}`);
  Deno.exit(1);
}
