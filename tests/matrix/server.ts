// A server of the matrix: listens on the given addresses, and prints them.

import { readFileSync } from "node:fs";
import process from "node:process";
import { listen } from "../../mod.ts";
import { makeTree } from "./tree.ts";

const folder = new URL("../testdata/tls/", import.meta.url);
const pem = (name: string) => readFileSync(new URL(name, folder), "utf8");
const server = await listen(process.argv.slice(2), makeTree(), {
  tls: { cert: pem("server.crt"), key: pem("server.key") },
  onError: () => {},
});
console.log(server.addrs.join(" ")); // To the standard error, where it serves on stdio.
await server.finished;
