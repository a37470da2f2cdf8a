// 9P in one POST of HTTP: the body of the request and the body of the response
// are the two directions of a connection.

import { fromStreams } from "./streams.ts";
import type { Connection } from "./connection.ts";

/** The media type of both bodies. */
export const MEDIA_TYPE = "application/octet-stream";

/**
 * Sends a POST whose body is a stream.
 *
 * @param url The URL.
 * @param extensions Options of fetch() that only this runtime has.
 */
export function post(url: string, extensions: object): Connection {
  const abort = new AbortController();
  const up = new TransformStream<Uint8Array, Uint8Array>();
  const down = new TransformStream<Uint8Array, Uint8Array>();
  const response = fetch(url, {
    method: "POST",
    headers: { "content-type": MEDIA_TYPE, accept: MEDIA_TYPE },
    body: up.readable,
    signal: abort.signal,
    // Standard, but not in all versions of the types.
    ...{ duplex: "half" },
    ...extensions,
  });
  response.then(bodyOf)
    .then((body) => body.pipeTo(down.writable))
    .catch((error) => down.writable.abort(error))
    .catch(() => {}); // The stream has ended by itself.
  const close = () => abort.abort();
  return fromStreams({
    readable: down.readable,
    writable: up.writable,
    close,
  }, url);
}

function bodyOf({ ok, status, statusText, body }: Response): ReadableStream {
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
