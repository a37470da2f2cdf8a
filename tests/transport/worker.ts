// A worker of the tests, which serves a tree in the way that its first message
// says.

import process from "node:process";
import { parentPort } from "node:worker_threads";
import { connect, MemoryFs, serve } from "../../mod.ts";
import type { MessageTarget } from "../../transport.ts";

/** What the worker does. */
export type Task =
  | { readonly task: "serve"; readonly clients: number }
  | { readonly task: "fail" | "exit" | "both"; readonly port?: MessagePort };

// A worker of Node has a port in the place of its global scope. A cast is needed,
// because the checker takes this module for one of a page.
const scope = (parentPort ?? globalThis) as unknown as MessageTarget & {
  addEventListener(
    type: "message",
    listener: (event: MessageEvent) => void,
  ): void;
};

function tree(): MemoryFs {
  const fs = new MemoryFs({ motd: "hello\n" }, { mode: 0o777 });
  fs.register("add", (a: number, b: number) => a + b, { params: ["a", "b"] });
  fs.register("wait", () => new Promise(() => {}));
  return fs;
}

async function run(message: Task): Promise<void> {
  switch (message.task) {
    case "serve": {
      // A turn later than the client's first message, which is lost.
      await new Promise((resolve) => setTimeout(resolve));
      const fs = tree();
      for (let i = 0; i < message.clients; i++) await serve(scope, fs);
      return;
    }
    case "fail": {
      const fs = tree();
      fs.register("fail", () => {
        setTimeout(() => {
          throw new Error("the worker breaks");
        });
        return new Promise(() => {});
      });
      await serve(scope, fs);
      return;
    }
    case "exit": {
      const fs = tree();
      fs.register("exit", () => {
        process.exit(0);
      });
      await serve(scope, fs);
      return;
    }
    case "both": {
      if (message.port === undefined) throw new TypeError("no port");
      const client = await connect(message.port);
      const fs = tree();
      fs.register("greet", () => client.readTextFile("motd"));
      await serve(scope, fs);
      await client.close();
    }
  }
}

scope.addEventListener("message", ({ data }) => {
  if (typeof data !== "object" || !("task" in data)) return;
  void run(data);
});
