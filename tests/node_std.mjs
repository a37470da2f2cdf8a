// Lets the suites run on Node, which knows no import map: maps @std/* to the
// stand-ins of tests/std.
//
//     node --import ./tests/node_std.mjs --test tests/codec/*_test.ts

import { registerHooks } from "node:module";

registerHooks({
  resolve(specifier, context, next) {
    const [, name] = /^@std\/([a-z]+)$/.exec(specifier) ?? [];
    if (name === undefined) return next(specifier, context);
    const url = new URL(`./std/${name}.ts`, import.meta.url).href;
    return { url, format: "module-typescript", shortCircuit: true };
  },
});
