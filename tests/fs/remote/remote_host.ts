/**
 * A far server, a client of it, and a near server that serves the far tree: all
 * in memory, with a count of the fids that the far session has.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { type Client, connect, type ConnectOptions } from "../../../client.ts";
import { isTmessage, type Message, type Tmessage } from "../../../codec.ts";
import {
  RemoteFs,
  type RemoteFsOptions,
  type ServableTree,
} from "../../../fs/mod.ts";
import { serve, type ServeOptions } from "../../../server.ts";
import { pair } from "../../../transport.ts";
import { nextTask } from "../../server/toy.ts";
import { soon, WireClient } from "../../server/wire_client.ts";

/** The fids and the requests of a connection. */
export class Watch {
  /** Fids that the session has. */
  readonly fids: Set<number> = new Set();
  /** Types of the requests, in order. */
  readonly log: string[] = [];
  readonly #pending = new Map<number, Tmessage>();

  /** Notes a message, in the order of the connection. */
  note(message: Message): void {
    if (isTmessage(message)) {
      this.#pending.set(message.tag, message);
      this.log.push(message.type);
      return;
    }
    const request = this.#pending.get(message.tag);
    this.#pending.delete(message.tag);
    const isError = message.type === "Rerror";
    switch (request?.type) {
      case "Tattach":
        if (!isError) this.fids.add(request.fid);
        break;
      case "Twalk":
        if (message.type !== "Rwalk") break;
        if (message.wqid.length === request.wname.length) {
          this.fids.add(request.newfid);
        }
        break;
      case "Tclunk":
      case "Tremove":
        this.fids.delete(request.fid);
        break;
    }
  }

  /** The requests since the last look, without Tclunks. */
  take(): string[] {
    return this.log.splice(0).filter((type) => type !== "Tclunk");
  }
}

/** A wait of a test that takes longer has failed. */
const PATIENCE_MS = 20_000;

/** Looks again and again until something holds. */
export async function until(
  holds: () => boolean | Promise<boolean>,
): Promise<void> {
  const end = performance.now() + PATIENCE_MS;
  while (!(await holds())) {
    assert(performance.now() < end, `it does not come: ${holds}`);
    await nextTask();
  }
}

/** Options of {@linkcode bridge}. */
export interface BridgeOptions {
  readonly remote?:
    | RemoteFsOptions
    | ((between: Client) => RemoteFsOptions)
    | undefined;
  readonly far?: ServeOptions;
  readonly between?: ConnectOptions;
  readonly near?: ServeOptions;
}

/** A far tree that is served near. */
export interface Bridge extends AsyncDisposable {
  /** The requests to the far server. */
  readonly watch: Watch;
  /** The client between the servers. */
  readonly between: Client;
  /** The tree. */
  readonly tree: RemoteFs;
  /** Errors that the near server has reported. */
  readonly errors: unknown[];
  /** Connects to the near server. */
  dial(options?: ConnectOptions): Promise<Client>;
  /** Connects to the near server, frame by frame. */
  wire(msize?: number, uname?: string): Promise<WireClient>;
  /** Number of fids of the far session, when it has answered all that was sent. */
  count(): Promise<number>;
}

/** Serves a far tree near. At the end no fid may be left in the far session. */
export async function bridge(
  far: ServableTree,
  options: BridgeOptions = {},
): Promise<Bridge> {
  const watch = new Watch();
  const [here, there] = pair();
  const farServed = serve(there, far, {
    ...options.far,
    onMessage: ({ message }) => message && watch.note(message),
  });
  const between = await connect(here, options.between);
  const { remote } = options;
  const tree = new RemoteFs(
    between,
    typeof remote === "function" ? remote(between) : remote,
  );
  const errors: unknown[] = [];
  const served: Promise<void>[] = [];
  const open = () => {
    const [near, end] = pair();
    const onError = (error: unknown) => errors.push(error);
    served.push(serve(end, tree, { onError, ...options.near }));
    return near;
  };
  const clients: { close(): unknown }[] = [];
  const count = async () => {
    await between.stat(between.protocol.root); // Behind all that was sent before.
    return watch.fids.size;
  };
  return {
    watch,
    between,
    tree,
    errors,
    count,
    async dial(options) {
      const client = await connect(open(), options);
      clients.push(client);
      return client;
    },
    async wire(msize, uname) {
      const client = new WireClient(open());
      clients.push(client);
      await client.start(msize, uname);
      return client;
    },
    async [Symbol.asyncDispose]() {
      for (const client of clients) await client.close();
      await soon(Promise.all(served));
      // A far session that has ended has no fids.
      const left = await count().catch(() => 1);
      assertEquals(left, 1, "fids that are left in the far session");
      await between.close();
      await soon(farServed);
    },
  };
}
