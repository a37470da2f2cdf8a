/**
 * Reads the start of a file with single messages of the protocol, and prints
 * each request with its reply.
 *
 *     deno run --allow-net examples/rpc.ts ADDRESS PATH
 *     bun examples/rpc.ts ADDRESS PATH
 *
 * @module
 */

import process from "node:process";
import {
  connect,
  formatMessage,
  type Message,
  OREAD,
  printable,
  type RpcReply,
  type RpcRequest,
} from "../mod.ts";

const [address, path] = process.argv.slice(2);
if (address === undefined || path === undefined) {
  console.error("Usage: rpc.ts ADDRESS PATH");
  process.exit(2);
}

async function main() {
  await using client = await connect(address);

  /** Sends a request and shows it with its reply. */
  async function ask<R extends RpcRequest>(request: R): Promise<RpcReply<R>> {
    const tag = 1; // One request at a time needs no other.
    console.log(`-> ${formatMessage({ ...request, tag } as Message)}`);
    const reply = await client.protocol.rpc(request, { tag });
    console.log(`<- ${formatMessage(reply as Message)}`);
    return reply;
  }

  const fid = client.protocol.allocFid();
  const wname = path.split("/").filter((name) => name !== "");
  const { wqid } = await ask(
    { type: "Twalk", fid: client.protocol.root, newfid: fid, wname },
  );
  if (wqid.length < wname.length) {
    client.protocol.releaseFid(fid); // The server has made none.
    throw new Error(`no "${wname[wqid.length]}"`);
  }
  await ask({ type: "Tstat", fid });
  await ask({ type: "Topen", fid, mode: OREAD });
  await ask({ type: "Tread", fid, offset: 0n, count: 200 });
  await client.protocol.clunk(fid);
}

await main().catch(({ message }: Error) => {
  console.error(printable(`Cannot read "${path}": ${message}`));
  process.exitCode = 1;
});
