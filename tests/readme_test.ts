// The first screen of the README, as pasted: only the import and the port
// differ, so that it runs against this checkout and beside other servers.

import { assertEquals, assertStringIncludes } from "@std/assert";

const root = new URL("../", import.meta.url);

Deno.test("README: the first example runs as pasted", async () => {
  const readme = await Deno.readTextFile(new URL("README.md", root));
  const example = /```ts[^\n]*\n(.*?)```/s.exec(readme)?.[1] ?? "";
  assertStringIncludes(example, '"jsr:@ninep/ninep"');
  assertStringIncludes(example, "tcp://127.0.0.1:5640");

  const free = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = free.addr;
  free.close();
  const source = example
    .replaceAll('"jsr:@ninep/ninep"', JSON.stringify(`${root}mod.ts`))
    .replaceAll(":5640", `:${port}`);
  const dir = await Deno.makeTempDir();
  try {
    await Deno.writeTextFile(`${dir}/example.ts`, source);
    const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
      args: [
        "run",
        "--quiet",
        "--no-prompt",
        "--allow-net",
        `${dir}/example.ts`,
      ],
    }).output();
    const decoder = new TextDecoder();
    assertEquals(decoder.decode(stderr), "");
    assertEquals(decoder.decode(stdout), "hello\n\n42\n");
    assertEquals(code, 0);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});
