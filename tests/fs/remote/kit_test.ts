// The conformance kit over a RemoteFs of a MemoryFs.
import { assert, assertEquals } from "@std/assert";
import { makeTree } from "../../../examples/conformance_server.ts";
import { cases, formatResult } from "../../conformance/mod.ts";
import { connect, pair, RemoteFs, serve } from "../../../mod.ts";
import { test } from "../../harness.ts";
import { soon } from "../../server/wire_client.ts";

const users = {
  ...{ none: {}, glenda: {}, bootes: {}, rob: {} },
  sys: { members: ["glenda", "bootes"], leader: "bootes" },
  adm: { members: ["bootes"], leader: "bootes" },
};

/** Cases that need an authentication by the near server, which has none. */
const SKIPPED = ["S28", "S29", "S30"];
/** The exit error ends the far connection, and not that of the near client. */
const OTHERWISE = ["S124"];

for (const line of cases) {
  if (OTHERWISE.includes(line.id)) continue;
  test(`RemoteFs, conformance: ${line.id} ${line.title}`, async () => {
    const quiet = { onError: () => {} };
    const [here, there] = pair();
    const fs = makeTree({ users, uid: "none" });
    const served = [serve(there, fs, quiet)];
    const client = await connect(here);
    const remote = new RemoteFs(client, {
      attach: (uname, aname) => client.attach({ uname, aname }),
    });
    const result = await line.run(() => {
      const [near, far] = pair();
      served.push(serve(far, remote, quiet));
      return near;
    }, { strict: true, randomTime: 300, groups: ["sys", "adm"] });
    await client.close();
    await soon(Promise.all(served));
    const expected = SKIPPED.includes(line.id) ? "skip" : "ok";
    assert(result.status === expected, formatResult(result));
    if (expected === "ok") assertEquals(result.reason, undefined);
  });
}
