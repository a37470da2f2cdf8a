// The conformance kit over a HostFs that checks permissions by the names of the
// host's users. All files belong to the user of the process.
import { assertEquals } from "@std/assert";
import { chmod } from "node:fs/promises";
import { connect } from "../../../client.ts";
import { HostFs } from "../../../fs/mod.ts";
import { inMemory } from "../../kit/host.ts";
import { formatResult, runConformance } from "../../conformance/mod.ts";
import { withFolder } from "../../folder.ts";
import { test } from "../../harness.ts";

/**
 * Cases that a host cannot pass: files of two owners, and a new number for each
 * new file.
 */
const SKIP = ["S34", "S50"];

test("conformance kit over HostFs", async () => {
  await withFolder(async (folder) => {
    await chmod(folder, 0o777);
    const rules = { access: true };
    const { handler } = new HostFs(folder, { readonly: false, rules });
    await using host = await inMemory(handler, { onError: () => {} });
    await using client = await connect(await host.connect());
    const { uid: uname } = await client.stat("/");
    const options = { uname, strict: true, randomTime: 200, skip: SKIP };
    const failed: string[] = [];
    let passed = 0;
    for await (const result of runConformance(host.connect, options)) {
      if (result.status === "ok") passed++;
      else if (result.status !== "skip") failed.push(formatResult(result));
    }
    assertEquals(failed, []);
    assertEquals(passed > 80, true, `${passed} cases passed`);
  });
});
