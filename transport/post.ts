// 9P in one POST of HTTP: the body of the request and the body of the response
// are the two directions of a connection.

import { fromStreams } from "./streams.ts";
import type { Connection } from "./connection.ts";

/** The media type of both bodies. */
export const MEDIA_TYPE = "application/octet-stream";

/** Milliseconds that the server has to end its response. */
const END_MS = 1000;

/**
 * Sends a POST whose body is a stream.
 *
 * @param url The URL.
 * @param extensions Options of fetch() that only this runtime has.
 */
export function post(url: string, extensions: object): Connection {
  const abort = new AbortController();
  const up = new TransformStream<Uint8Array, Uint8Array>();
  const reader = fetch(url, {
    method: "POST",
    headers: { "content-type": MEDIA_TYPE, accept: MEDIA_TYPE },
    body: up.readable,
    signal: abort.signal,
    // Standard, but not in all versions of the types.
    ...{ duplex: "half" },
    ...extensions,
  }).then((response) => bodyOf(response).getReader());
  reader.catch(() => {}); // A read reports the error.
  const readable = new ReadableStream<Uint8Array>({
    async pull(controller) {
      const { done, value } = await (await reader).read();
      if (done) controller.close();
      else controller.enqueue(value);
    },
  });
  let resolveClosed: () => void;
  const closed = new Promise<void>((resolve) => resolveClosed = resolve);
  // The response is read to its end, because a server of Deno 2.9 loses a
  // descriptor with each client that breaks off.
  const drain = async () => {
    const timer = setTimeout(() => abort.abort(), END_MS);
    try {
      while (!(await (await reader).read()).done);
    } catch {
      // The connection has ended.
    }
    clearTimeout(timer);
    resolveClosed();
  };
  const close = () => void drain();
  return {
    ...fromStreams({ readable, writable: up.writable, close }, url),
    closed,
  };
}

function bodyOf(
  { ok, status, statusText, body }: Response,
): ReadableStream<Uint8Array> {
  if (ok && body) return body;
  void body?.cancel();
  throw new Error(`the server answered ${status} ${statusText}`);
}

/**
 * Makes a connection of a POST, and the response that has the other direction.
 *
 * @param request The request.
 * @param peer Label of the peer.
 */
export function acceptPost(
  request: Request,
  peer: string,
): { connection: Connection; response: Response } {
  const down = new TransformStream<Uint8Array, Uint8Array>();
  const reader = down.readable.getReader();
  let resolveClosed: () => void;
  const closed = new Promise<void>((resolve) => resolveClosed = resolve);
  const body = new ReadableStream<Uint8Array>({
    async pull(controller) {
      const { done, value } = await reader.read();
      if (done) controller.close();
      else controller.enqueue(value);
    },
    // The client takes no more replies.
    cancel(reason) {
      resolveClosed();
      return reader.cancel(reason);
    },
  });
  const readable = request.body ?? new Blob([]).stream();
  const { writable } = down;
  const close = () => {
    // The session has released the stream when it ends in order. If a program
    // closes the connection, the response ends at once.
    if (writable.locked) reader.cancel().catch(() => {});
  };
  const streams = fromStreams({ readable, writable, close }, peer);
  return {
    connection: { ...streams, repliesAfterEnd: true, closed },
    response: new Response(body, {
      headers: { "content-type": MEDIA_TYPE, "cache-control": "no-store" },
    }),
  };
}
