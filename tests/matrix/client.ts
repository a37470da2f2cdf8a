// A client of the matrix: works with a server at an address, or with a server
// that it starts, and prints one line when all was right.
//
//     client.ts ADDRESS CONNECTS
//     client.ts spawn CONNECTS COMMAND ARGUMENT…

import { readFileSync } from "node:fs";
import process from "node:process";
import { type Client, connect, ProtocolError, spawn } from "../../mod.ts";
import type { Usage } from "./tree.ts";

const [address = "", connects = "100", command = "", ...args] = process.argv
  .slice(2);
const ca = readFileSync(
  new URL("../testdata/tls/ca.crt", import.meta.url),
  "utf8",
);

/** Makes a client. */
function open(): Promise<Client> {
  const options = { tls: { ca }, timeout: 60_000 };
  return address === "spawn"
    ? spawn(command, args, { ...options, stderr: "null" })
    : connect(
      address,
      address.startsWith("tls:") ? options : { timeout: 60_000 },
    );
}

function check(isRight: boolean, text: string): void {
  if (!isRight) throw new Error(text);
}

/** Seeded numbers below a limit. */
function random(seed: number): (limit: number) => number {
  return (limit) => {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
    return Math.floor(seed / 2 ** 32 * limit);
  };
}

/** A thousand operations, each compared with a model of the files. */
async function operate(client: Client): Promise<void> {
  const next = random(42);
  const model = new Map<string, number[]>();
  const home = `home${next(1e9)}`;
  await client.mkdir(home);
  for (let step = 0; step < 1000; step++) {
    const name = `f${next(8)}`;
    const path = `${home}/${name}`;
    const bytes = Array.from({ length: next(3000) }, () => next(256));
    const known = model.get(name);
    switch (next(8)) {
      case 0:
      case 1:
        await client.writeFile(path, new Uint8Array(bytes));
        model.set(name, bytes);
        break;
      case 2:
        await client.writeFile(path, new Uint8Array(bytes), { append: true });
        model.set(name, [...known ?? [], ...bytes]);
        break;
      case 3: {
        const other = `f${next(8)}`;
        if (!known || model.has(other)) break;
        await client.rename(path, `${home}/${other}`);
        model.delete(name);
        model.set(other, known);
        break;
      }
      case 4:
        if (!known) break;
        await client.remove(path);
        model.delete(name);
        break;
      case 5:
        check(
          await client.call<number>("add", { argv: [step, 1] }) === step + 1,
          "a sum differs",
        );
        break;
      case 6: {
        const names = await client.readDirNames(home);
        check(
          names.sort().join() === [...model.keys()].sort().join(),
          "a listing differs",
        );
        break;
      }
      default: {
        const found = await client.readFile(path).catch(() => undefined);
        check(
          found === undefined ? known === undefined : `${found}` === `${known}`,
          `${path} differs in step ${step}`,
        );
      }
    }
  }
  await client.remove(home, { recursive: true });
}

/** 16 MiB to the server and back. */
async function move(client: Client): Promise<void> {
  const data = new Uint8Array(16 * 1024 * 1024);
  for (let i = 0; i < data.length; i += 997) data[i] = i % 251;
  await client.writeFile("large", data);
  const back = await client.readFile("large");
  check(back.length === data.length, "the length differs");
  check(back.every((byte, i) => byte === data[i]), "the bytes differ");
  await client.remove("large");
}

/** Checks that a call ends with the error of a lost connection. */
async function lost(call: Promise<unknown>, text: string): Promise<void> {
  try {
    await call;
  } catch (error) {
    check(error instanceof ProtocolError, `${text}: ${error}`);
    return;
  }
  throw new Error(`${text}: the call ended without an error`);
}

/** Ends of every kind, each on a connection of its own. */
async function end(): Promise<void> {
  const cut = await open();
  const waiting = lost(cut.call("wait"), "a call while the server cuts");
  await lost(cut.call(address === "spawn" ? "die" : "cut"), "the server cuts");
  await waiting;
  await lost(cut.stat("motd"), "a call after the cut");
  await cut.close();

  const left = await open();
  const writing = left.writeFile("half", new Uint8Array(4_000_000));
  const lostWrite = lost(writing, "a write that this side cuts");
  left.connection.close();
  await lostWrite;
  await left.close();

  const exited = await open();
  await exited.call("exit").catch(() => {});
  await exited.closed;
  await lost(exited.stat("motd"), "a call after the server's exit");
  await exited.close();
}

/** Many connections, one after the other; the server must not grow. */
async function reconnect(count: number): Promise<void> {
  const observer = await open();
  const once = async () => {
    const client = await open();
    await client.stat("motd");
    await client.close();
  };
  for (let i = 0; i < Math.min(count, 100); i++) await once();
  const before = await observer.call<Usage>("usage");
  for (let i = 0; i < count; i++) await once();
  const after = await observer.call<Usage>("usage");
  await observer.close();
  const descriptors = after.descriptors - before.descriptors;
  const memory = (after.memory - before.memory) / 2 ** 20;
  check(descriptors < 10, `${descriptors} descriptors more`);
  check(memory < 64, `${memory.toFixed()} MiB more`);
}

const client = await open();
await operate(client);
await move(client);
await client.close();
await end();
const count = Number(connects);
if (address === "spawn") {
  for (let i = 0; i < Math.min(count, 20); i++) await (await open()).close();
} else await reconnect(count);
console.log("all right");
