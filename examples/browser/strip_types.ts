/**
 * Files of the page: `index.html`, and modules without their types.
 *
 * @module
 */

import * as nodeModule from "node:module";

/** The parts of the runtimes that remove types. */
interface Runtime {
  readonly Bun?: {
    readonly Transpiler: new (options: { loader: "ts" }) => {
      transformSync(source: string): string;
    };
  };
}

const root = new URL("../../", import.meta.url);

/** Returns the JavaScript of a TypeScript module. */
function withoutTypes(source: string): string {
  const { Bun: bun } = globalThis as Runtime;
  if (bun) return new bun.Transpiler({ loader: "ts" }).transformSync(source);
  // Deno and Node have it.
  return nodeModule.stripTypeScriptTypes(source);
}

/** Answers a request for a file of the page or of the library. */
export async function moduleText(pathname: string): Promise<Response> {
  const isPage = pathname === "/";
  // Modules of the library and of the page, and nothing else of this machine.
  const isModule = /^\/(?:[a-z0-9_]+\/)*[a-z0-9_]+\.ts$/.test(pathname);
  if (!isPage && !isModule) return new Response("Not found\n", { status: 404 });
  const path = isPage ? "examples/browser/index.html" : pathname.slice(1);
  const file = await fetch(new URL(path, root)).catch(() => undefined);
  if (!file?.ok) return new Response("Not found\n", { status: 404 });
  const text = await file.text();
  return new Response(isPage ? text : withoutTypes(text), {
    headers: {
      "content-type": isPage ? "text/html" : "text/javascript",
      "cache-control": "no-cache",
    },
  });
}
