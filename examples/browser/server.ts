/**
 * A page in a browser, and a tree that it works with over a WebSocket. The
 * browser gets the TypeScript of the page and of the library with its types
 * removed, when it asks for a module.
 *
 *     deno serve --allow-net --allow-read --port 8080 examples/browser/server.ts
 *     PORT=8080 bun examples/browser/server.ts
 *
 * Then open http://127.0.0.1:8080. The page can also serve a file that you pick:
 * it opens a second WebSocket, on which this program is the client.
 *
 * @module
 */

import { connect, MemoryFs, type WebHandler, webHandler } from "../../mod.ts";
import { listen } from "../../transport.ts";
import { moduleText } from "./strip_types.ts";

const encoder = new TextEncoder();
const fs = new MemoryFs({
  motd: "hello from the server\n",
  notes: { today: "read the manual\n" },
  received: {},
}, { mode: 0o777 });
fs.chmod("notes", 0o777);
fs.register("add", (a: number, b: number) => a + b, { params: ["a", "b"] });
fs.define("clock", {
  // Each read waits for the next second.
  read: async () => {
    await new Promise((resolve) => setTimeout(resolve, 1000));
    return encoder.encode(`${new Date().toLocaleTimeString("en")}\n`);
  },
});

// Pages of this server that serve a file. Their port is another one.
const pages = await listen("ws://127.0.0.1:8081/page", {
  origins: ["http://127.0.0.1:8080", "http://localhost:8080"],
});
void (async () => {
  for await (const connection of pages) void receive(connection);
})();

async function receive(connection: Parameters<typeof connect>[0]) {
  try {
    await using page = await connect(connection, { timeout: 10_000 });
    for await (const { name } of page.readDir("/")) {
      const data = await page.readFile(name);
      fs.writeFile(`received/${name}`, data, { mode: 0o666 });
    }
  } catch (error) {
    console.error(String(error));
  }
}

const tree = webHandler(fs);
const handler: Pick<WebHandler, "websocket"> & {
  fetch(request: Request, context: unknown): Promise<Response> | Response;
} = {
  websocket: tree.websocket,
  fetch(request, context) {
    const { pathname } = new URL(request.url);
    return pathname === "/9p"
      ? tree.fetch(request, context)
      : moduleText(pathname);
  },
};
export default handler;
