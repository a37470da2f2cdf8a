/// <reference lib="dom" />
/// <reference lib="dom.iterable" />
/**
 * The script of the page: a client of the server's tree, and a server of the
 * file that the user picks.
 *
 * @module
 */

import { type Client, connect, MemoryFs, serve } from "../../mod.ts";

/** Returns an element of the page. */
function element<E extends HTMLElement = HTMLElement>(id: string): E {
  const found = document.getElementById(id);
  if (found === null) throw new Error(`the page has no #${id}`);
  return found as E; // The page has the elements that this script names.
}

/** Runs an action of the user, and shows its error. */
function act(work: () => Promise<void>): () => Promise<void> {
  return async () => {
    element("status").textContent = "";
    try {
      await work();
    } catch (error) {
      element("status").textContent = String(error);
    }
  };
}

async function list(client: Client): Promise<void> {
  const rows: Node[] = [];
  for await (const { path, stat } of client.walkTree("/")) {
    if (path === "/") continue;
    const row = document.createElement("button");
    row.className = stat.isDirectory ? "directory" : "file";
    row.style.paddingLeft = `${path.split("/").length - 1}rem`;
    row.textContent = path.replace(/^\//, "");
    row.onclick = act(() => show(client, path, stat.isDirectory));
    rows.push(row);
  }
  element("tree").replaceChildren(...rows);
}

async function show(client: Client, path: string, isDirectory: boolean) {
  if (isDirectory || path === "/clock") return;
  element<HTMLInputElement>("path").value = path;
  element<HTMLTextAreaElement>("text").value = await client.readTextFile(path);
}

/** Shows each line of the event file as it comes. */
async function follow(client: Client): Promise<void> {
  const clock = await client.open("/clock");
  for await (const line of clock.lines({ timeout: Infinity })) {
    element("clock").textContent = line;
  }
}

const { host } = location;
const client = await connect(`ws://${host}/9p`);
element("peer").textContent = client.peer;
element("save").onclick = act(async () => {
  const path = element<HTMLInputElement>("path").value;
  const text = element<HTMLTextAreaElement>("text").value;
  await client.writeTextFile(path, text);
  await list(client);
});
element("add").onclick = act(async () => {
  const argv = ["a", "b"].map((id) =>
    Number(element<HTMLInputElement>(id).value)
  );
  element("sum").textContent = `${await client.call("add", { argv })}`;
});
element("file").onchange = act(async () => {
  const [file] = element<HTMLInputElement>("file").files ?? [];
  if (file === undefined) return;
  const fs = new MemoryFs({
    [file.name]: new Uint8Array(await file.arrayBuffer()),
  });
  // The server is the client of this connection, and ends it.
  const socket = new WebSocket(`ws://${location.hostname}:8081/page`, "9p");
  await serve(socket, fs);
  await list(client);
});
await list(client);
void follow(client).catch((error) => {
  element("status").textContent = String(error);
});
