// Many clients at the same function files: no client gets the result of another
// client's arguments.
import { assert, assertEquals } from "@std/assert";
import { type Client, connect, type RemoteFile } from "../../../client.ts";
import { type CallContext, MemoryFs } from "../../../fs/mod.ts";
import { listen, serve } from "../../../server.ts";
import { pair } from "../../../transport.ts";
import { test } from "../../harness.ts";
import { Register } from "../../soak/shared.ts";
import { Random } from "../../codec/vectors.ts";

const CLIENTS = 64;
const ROUNDS = 20;

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** Arguments: the client, its number, and a long text. */
interface Args {
  who: string;
  seq: number;
  pad: string;
}

/** The value of a function for its arguments. */
interface Value extends Args {
  /** User in the context of the function. */
  uname: string;
}

const FUNCTIONS = ["now", "later", "own_now", "own_later"];

/** A tree with functions that give back their arguments, at once or some turns later. */
class Functions implements AsyncDisposable {
  readonly clients: Client[] = [];
  /** Number of calls, by the arguments. */
  readonly calls: Map<string, number> = new Map();
  readonly #ends: (() => Promise<void>)[] = [];

  static async start(): Promise<Functions> {
    const functions = new Functions();
    const fs = new MemoryFs();
    const now = ({ uname }: CallContext, args: Args): Value => {
      const key = `${args.who} ${args.seq}`;
      functions.calls.set(key, (functions.calls.get(key) ?? 0) + 1);
      // A payload comes as bytes.
      const sent: string | Uint8Array = args.pad;
      const pad = typeof sent === "string" ? sent : decoder.decode(sent);
      return { ...args, pad, uname };
    };
    const later = async (context: CallContext, args: Args): Promise<Value> => {
      for (let turns = args.seq * 7 % 4; turns > 0; turns--) {
        await new Promise((resolve) => setTimeout(resolve));
      }
      return now(context, args);
    };
    fs.register("now", now, { context: true });
    fs.register("later", later, { context: true });
    fs.register("own_now", now, { shared: false, context: true });
    fs.register("own_later", later, { shared: false, context: true });

    const server = await listen("tcp://127.0.0.1:0", fs);
    functions.#ends.push(() => server.close());
    for (let at = 0; at < CLIENTS; at++) {
      const uname = `u${at}`;
      if (at % 2 === 0) {
        functions.clients.push(await connect(server.addr, { uname }));
        continue;
      }
      const [near, far] = pair();
      const served = serve(far, fs);
      functions.#ends.push(() => served);
      functions.clients.push(await connect(near, { uname }));
    }
    return functions;
  }

  /** Runs something for all clients at the same time. */
  async all(run: (client: Client, who: string) => Promise<void>) {
    await Promise.all(
      this.clients.map((client, at) => run(client, `u${at}`)),
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.clients.map((client) => client.close()));
    await Promise.all(this.#ends.map((end) => end()));
  }
}

/** Arguments that are not like any others, of some hundred bytes. */
function argsOf(who: string, seq: number): Args {
  return { who, seq, pad: `${who}-${seq};`.repeat(1 + seq * 13 % 60) };
}

/** Checks that a value is that of the arguments. */
function check(value: unknown, args: Args): void {
  assertEquals(value, { ...args, uname: args.who });
}

function open(client: Client, path: string): Promise<RemoteFile> {
  return client.open(path, { read: true, write: true });
}

/** Writes arguments with one message. */
async function write(
  client: Client,
  file: RemoteFile,
  args: Args,
): Promise<void> {
  const data = encoder.encode(JSON.stringify(args));
  assertEquals(await client.protocol.write(file.fid, data), data.length);
}

/** Reads a value: from offset 0, then on in small pieces. */
async function read(client: Client, file: RemoteFile): Promise<string> {
  const { fid } = file;
  const parts: string[] = [];
  for (let offset = 0;; offset += parts.at(-1)?.length ?? 0) {
    const data = await client.protocol.read(fid, { offset, count: 100 });
    if (data.length === 0) return parts.join("");
    parts.push(decoder.decode(data));
  }
}

for (const path of FUNCTIONS) {
  test(`${CLIENTS} clients write and read "${path}", each through fids of its own`, async () => {
    await using functions = await Functions.start();
    await functions.all(async (client, who) => {
      // Three fids of each client at the same time.
      const lanes = Array.from({ length: 3 }, async (_, lane) => {
        await using file = await open(client, path);
        for (let round = 0; round < ROUNDS; round++) {
          const args = argsOf(who, lane * ROUNDS + round);
          await write(client, file, args);
          check(JSON.parse(await read(client, file)), args);
          // Again, without a second call.
          check(JSON.parse(await read(client, file)), args);
        }
      });
      await Promise.all(lanes);
    });
    assertEquals(functions.calls.size, CLIENTS * 3 * ROUNDS);
    assertEquals(new Set(functions.calls.values()), new Set([1]));
  });

  test(`${CLIENTS} clients send writes and reads of "${path}" without waiting, through one fid each`, async () => {
    await using functions = await Functions.start();
    await functions.all(async (client, who) => {
      await using file = await open(client, path);
      const count = 2000; // Of one read: the whole value.
      const rounds = Array.from({ length: ROUNDS }, (_, seq) => {
        const args = argsOf(who, seq);
        const written = write(client, file, args);
        const values = [
          client.protocol.read(file.fid, { count }),
          client.protocol.read(file.fid, { count }),
        ];
        return { args, written, values };
      });
      for (const { args, written, values } of rounds) {
        await written;
        for (const value of values) {
          check(JSON.parse(decoder.decode(await value)), args);
        }
      }
    });
    assertEquals(functions.calls.size, CLIENTS * ROUNDS);
    assertEquals(new Set(functions.calls.values()), new Set([1]));
  });
}

for (const path of ["now", "later"]) {
  test(`${CLIENTS} clients share "${path}": a reader gets one whole value, of the last write`, async () => {
    await using functions = await Functions.start();
    const register = new Register();
    await functions.all(async (client, who) => {
      const random = new Random(Number(who.slice(1)));
      for (let seq = 1; seq <= ROUNDS; seq++) {
        // As `echo >f` and `cat f` do.
        if (random.below(2)) {
          await using file = await client.open(path, { write: true });
          const args = argsOf(who, seq);
          await register.write(who, seq, () => write(client, file, args));
        }
        await using file = await client.open(path);
        await register.read(async () => {
          const text = await read(client, file);
          if (text === "") return undefined; // Nobody wrote yet.
          const { who, seq, pad }: Value = JSON.parse(text);
          assertEquals(pad, argsOf(who, seq).pad, "the value is a mixture");
          return { who, seq };
        });
      }
    });
    assertEquals(new Set(functions.calls.values()), new Set([1]));
  });

  test(`${CLIENTS} clients share "${path}" in turn: each gets its own`, async () => {
    await using functions = await Functions.start();
    let turn: Promise<void> = Promise.resolve();
    await functions.all(async (client, who) => {
      for (let seq = 1; seq <= 3; seq++) {
        const args = argsOf(who, seq);
        const mine = turn.then(async () => {
          await client.writeTextFile(path, JSON.stringify(args));
          check(JSON.parse(await client.readTextFile(path)), args);
        });
        turn = mine;
        await mine;
      }
    });
  });

  test(`a fid that did not write sees nothing of "own_${path}"`, async () => {
    await using functions = await Functions.start();
    await functions.all(async (client, who) => {
      await using writer = await open(client, `own_${path}`);
      await using reader = await open(client, `own_${path}`);
      for (let seq = 0; seq < ROUNDS; seq++) {
        await write(client, writer, argsOf(who, seq));
        assertEquals(await read(client, reader), "");
      }
    });
    assertEquals(functions.calls.size, 0);
  });
}

test(`${CLIENTS} clients call the same functions, several calls of each under way`, async () => {
  await using functions = await Functions.start();
  await functions.all(async (client, who) => {
    const fids = await Promise.all(
      FUNCTIONS.map((path) => client.protocol.walk(path)),
    );
    const calls = Array.from({ length: 4 * ROUNDS }, async (_, seq) => {
      const args = argsOf(who, seq);
      const { pad, ...kwarg } = args;
      // By path or by fid; a part of the arguments as payload.
      const at = seq % FUNCTIONS.length;
      const file = seq % 3 === 0 ? FUNCTIONS[at] : fids[at];
      if (seq % 2 === 0) {
        check(await client.call(file, { kwarg: { ...args } }), args);
        return;
      }
      const value = await client.call<Value>(file, {
        kwarg,
        data: encoder.encode(pad),
        dataArg: "pad",
      });
      check(value, args);
    });
    await Promise.all(calls);
  });
  assertEquals(functions.calls.size, CLIENTS * 4 * ROUNDS);
  assertEquals(new Set(functions.calls.values()), new Set([1]));
});

test(`${CLIENTS} clients write, read, call and give up, all at one file`, async () => {
  await using functions = await Functions.start();
  const reason = new Error("given up");
  let givenUp = 0;
  await functions.all(async (client, who) => {
    await using file = await open(client, "later");
    for (let round = 0; round < ROUNDS; round++) {
      const args = argsOf(who, 3 * round);
      const other = argsOf(who, 3 * round + 1);
      const third = argsOf(who, 3 * round + 2);
      const abort = new AbortController();
      const lost = client.call("later", {
        kwarg: { ...third },
        signal: abort.signal,
      }).then((value) => check(value, third), (error) => {
        assert(error === reason, String(error));
        givenUp++;
      });
      const [value] = await Promise.all([
        client.call("later", { kwarg: { ...other } }),
        write(client, file, args),
      ]);
      abort.abort(reason);
      check(value, other);
      check(JSON.parse(await read(client, file)), args);
      await lost;
    }
  });
  assert(givenUp <= CLIENTS * ROUNDS);
});
