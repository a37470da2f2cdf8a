// The first programs of the README in one, for a project into which the package
// was installed. Prints its output, and the milliseconds of the import.

const before = performance.now();
const { connect, listen, MemoryFs, NinePError, serve } = await import(
  "@ninep/ninep"
);
const took = performance.now() - before;

const fs = new MemoryFs({ "motd": "hello\n" });
fs.register("add", (a: number, b: number) => a + b, { params: ["a", "b"] });
fs.define("uptime", { content: () => `${performance.now() | 0} ms\n` });

await using server = await listen("tcp://127.0.0.1:0", fs);
await using client = await connect(server.addr);
for await (const { name, length } of client.readDir("/")) {
  console.log(name, length);
}
const motd: string = await client.readTextFile("motd");
console.log(motd.trim());
console.log(await client.call("add", { argv: [17, 25] })); // 42
try {
  await client.readFile("none");
} catch (error) {
  if (!(error instanceof NinePError)) throw error;
  console.log(error.code); // ENOENT
}

const { port1, port2 } = new MessageChannel();
void serve(port2, fs);
await using other = await connect(port1);
console.log((await other.stat("motd")).length);
console.log(`import: ${took.toFixed()} ms`);

export {}; // tsc takes a file without imports for no module.
