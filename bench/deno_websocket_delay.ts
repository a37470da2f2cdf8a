// Deno's class WebSocket sends the header of a frame of more than 1 KiB in a
// packet of its own, and the content only when the peer has acknowledged it (the
// algorithm of Nagle), which takes 40 ms. So dial() has a client of its own.
const server = Deno.serve({ port: 0, onListen() {} }, (request) => {
  const { socket, response } = Deno.upgradeWebSocket(request);
  socket.onmessage = ({ data }) => socket.send(data);
  return response;
});
const socket = new WebSocket(`ws://127.0.0.1:${server.addr.port}`);
await new Promise((resolve) => socket.onopen = resolve);
for (const size of [512, 1024, 1025, 32_768, 65_536]) {
  const start = performance.now();
  socket.send(new Uint8Array(size));
  await new Promise((resolve) => socket.onmessage = resolve);
  console.log(`${size} bytes: ${(performance.now() - start).toFixed(1)} ms`);
}
Deno.exit();
