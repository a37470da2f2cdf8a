// Swaps a directory and a file of a served directory for links that lead out of
// it, and back, as fast as it can, until it is killed. It is a process of its
// own, so that it hits the server at any moment.
//
//     host_swapper.ts EXPORT OUTSIDE

import { existsSync, renameSync, symlinkSync } from "node:fs";
import process from "node:process";

const [dir = "", outside = ""] = process.argv.slice(2);
const pairs = [
  { name: `${dir}/dir`, target: outside },
  { name: `${dir}/file`, target: `${outside}/bait` },
].map(({ name, target }) => {
  const [link, own] = [`${name}.link`, `${name}.own`];
  symlinkSync(target, link);
  return { name, link, own };
});
console.log("ready");
while (existsSync(dir)) {
  for (let i = 0; i < 1000; i++) {
    for (const { name, link, own } of pairs) {
      renameSync(name, own);
      renameSync(link, name);
    }
    for (const { name, link, own } of pairs) {
      renameSync(name, link);
      renameSync(own, name);
    }
  }
}
