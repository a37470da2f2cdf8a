// A folder for the files of one test, under either runtime.

/** Runs `use` with an empty folder, and removes the folder at the end. */
export async function withFolder(
  use: (folder: string) => Promise<void>,
): Promise<void> {
  const { mkdtemp, rm } = await import("node:fs/promises");
  // Deno.makeTempDir() makes the folder where the tests may write.
  const folder = "Deno" in globalThis
    ? await Deno.makeTempDir({ prefix: "ninep_" })
    : await mkdtemp("/tmp/ninep_");
  try {
    await use(folder);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
