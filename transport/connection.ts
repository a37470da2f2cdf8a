// The interfaces of connections and listeners, which separate the sockets from
// the protocol.

import type { ProtocolError } from "../codec.ts";
import type { Address } from "./address.ts";

/**
 * One end of a reliable, ordered, two-way stream of bytes between two 9P peers.
 *
 * Any object with these members is a connection. `readable`, `writable`, `peer`
 * and `close` are enough (see {@linkcode fromStreams}). `read` and `write` are
 * a faster alternative to the streams. On one connection, use either the
 * streams or `read` and `write`, not both.
 */
export interface Connection {
  /**
   * Stream of bytes from the peer. Cancelling the stream closes the connection.
   */
  readonly readable: ReadableStream<Uint8Array>;
  /**
   * Stream of bytes to the peer. Closing the stream ends this direction;
   * aborting the stream closes the connection.
   */
  readonly writable: WritableStream<Uint8Array>;
  /**
   * Number of bytes of all writes that the system, or the peer, has taken so
   * far. During a large write, this number shows whether the peer is slow or
   * has stopped reading.
   */
  readonly taken?: number;
  /** Label of the peer for people: `tcp://127.0.0.1:53112`, `unix:///path`, `pair`. */
  readonly peer: string;
  /**
   * Address of the peer: the address that dial() was given, or the address of a
   * client as the system tells it. A client of a Unix socket has the path of
   * the socket file. The host may be empty when the client has already
   * disconnected. A pair has no address.
   */
  readonly remote?: Readonly<Address>;
  /**
   * Certificate of the peer, if the peer has shown one and this runtime gives
   * it: on a server, the certificate of the client, which was checked.
   */
  readonly certificate?: Certificate | undefined;
  /**
   * Largest message in bytes that the connection can carry; no limit by
   * default. The client and the server keep msize below it.
   */
  readonly maxMessage?: number | undefined;
  /**
   * Most bytes of data in requests that the peer has not answered; no limit by
   * default. A peer that cannot hold back its client, because it has a WebSocket
   * that cannot be paused, ends the connection of a client that sends more.
   */
  readonly maxUnanswered?: number | undefined;
  /**
   * True when the peer takes replies to all of its requests after the end of
   * its direction, as the client of a POST does; false by default. `closed` then
   * says that the peer takes no more replies.
   */
  readonly repliesAfterEnd?: boolean | undefined;
  /**
   * Closes both directions at once. Idempotent, never throws. A pending
   * `read()` then returns null, and a pending `write()` rejects.
   */
  close(): void;
  /**
   * Resolves some time after `close()`, when what belongs to the connection has
   * ended, such as a child process. It never rejects.
   */
  readonly closed?: Promise<void>;
  /**
   * Ends the direction to the peer. The peer then sees the end of the stream,
   * and reading can continue. Call this method only when no write is pending.
   * The promise never rejects: if the connection is lost, the direction has
   * ended too.
   */
  closeWrite?(): Promise<void>;
  /**
   * Reads the next bytes. The method copies them into `buffer` and returns a
   * view of `buffer`, or it returns another chunk, which the caller then owns.
   * It returns null at the end of the stream. Only one read may be pending. A
   * connection with `read` must also have `write`.
   *
   * @param buffer Buffer for the bytes: at least one byte; 64 KiB is a good
   *   size.
   * @throws {ProtocolError} When the stream died.
   */
  read?(buffer: Uint8Array): Promise<Uint8Array | null>;
  /**
   * Takes back a chunk that `read()` has returned, so that its memory can be
   * used again. The caller must not use the chunk any more.
   *
   * @param chunk The whole chunk, as `read()` has returned it.
   */
  free?(chunk: Uint8Array): void;
  /**
   * Writes all of `bytes`. Returns undefined when the write is already
   * complete, or a promise that resolves when it is complete. The caller may
   * change `bytes` only after that. Only one write may be pending. A connection
   * with `write` must also have `read`.
   *
   * @param bytes Bytes to write.
   * @throws {ProtocolError} When the stream died or is closed.
   */
  write?(bytes: Uint8Array): Promise<void> | undefined;
  /**
   * Keeps the process alive while the connection is open. This is the default.
   */
  ref?(): void;
  /**
   * Lets the process end although the connection is open. Without this method,
   * the streams of the connection decide.
   */
  unref?(): void;
}

/** Facts of a certificate that a peer has shown. */
export interface Certificate {
  /** Distinguished name of the owner, such as `CN=alice,O=Example`. */
  readonly subject: string;
  /** Distinguished name of the authority that signed the certificate. */
  readonly issuer: string;
  /** SHA-256 of the certificate: 64 lowercase hexadecimal digits. */
  readonly fingerprint: string;
}

/**
 * A listener on an address: an async iterable of connections.
 *
 * A listener has one consumer. Leaving the `for await` loop closes the
 * listener. Accepted connections stay open when the listener is closed.
 */
export interface Listener extends AsyncIterable<Connection> {
  /**
   * Address that {@linkcode dial} takes, with the real port:
   * `tcp://127.0.0.1:5640`.
   */
  readonly addr: string;
  /** Stops listening and ends the iteration. Idempotent, never throws. */
  close(): void;
  /**
   * Keeps the process alive while the listener listens. This is the default.
   */
  ref(): void;
  /** Lets the process end although the listener listens. */
  unref(): void;
}

/** Options of {@linkcode listen}. */
export interface ListenerOptions {
  /**
   * Called with the errors of the system that prevent the listener from
   * accepting connections, such as one with the code `EMFILE`. The listener
   * tries again after a pause of 5 to 1000 milliseconds. By default these
   * errors are dropped.
   */
  onError?: ((error: ProtocolError) => void) | undefined;
  /** Mode of the file of a Unix socket, 0o600 by default. */
  mode?: number | undefined;
  /** Certificate and key, which `tls:`, `wss:` and `https:` need. */
  tls?: TlsListenerOptions | undefined;
  /**
   * For `ws:`, `wss:`, `http:` and `https:`: origins of pages that may connect,
   * such as `https://example.org`, beside the pages of the same server; `["*"]`
   * for all pages. A request without an origin comes from a program, and is
   * accepted.
   */
  origins?: readonly string[] | undefined;
  /**
   * For `ws:` and `wss:`: largest message in bytes that the clients take, 1 MiB
   * by default.
   */
  maxMessage?: number | undefined;
}

/** Options of {@linkcode dial}. */
export interface DialOptions {
  /** Aborts the attempt: the promise rejects with the signal's reason. */
  signal?: AbortSignal | undefined;
  /** Certificates for `tls:`, and for `wss:` and `https:` where possible. */
  tls?: TlsOptions | undefined;
}

/**
 * Options of TLS for a client. The certificate of the server is always checked.
 */
export interface TlsOptions {
  /**
   * Certificates in PEM of the authorities to trust, instead of those of the
   * runtime; on Deno, in addition to them.
   */
  ca?: string | readonly string[] | undefined;
  /** Certificate chain of this client in PEM, together with `key`. */
  cert?: string | undefined;
  /** Private key in PEM, together with `cert`. */
  key?: string | undefined;
  /** Protocols to offer (ALPN), such as `["9p"]`; none by default. */
  alpn?: readonly string[] | undefined;
}

/** Options of TLS for a listener. */
export interface TlsListenerOptions {
  /** Certificate chain of the server in PEM. */
  cert: string;
  /** Private key in PEM. */
  key: string;
  /**
   * Certificates in PEM of the authorities that sign the certificates of
   * clients. With this option, a client needs such a certificate.
   */
  ca?: string | readonly string[] | undefined;
  /** Protocols to accept (ALPN), such as `["9p"]`; none by default. */
  alpn?: readonly string[] | undefined;
}
