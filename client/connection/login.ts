// Who a client is to its server: authentication, if any, and attach.

import { explained } from "../operation.ts";
import { RemoteFile } from "../file/remote_file.ts";
import type { ClientSession } from "./client_session.ts";

/**
 * The dialogue in which a user is authenticated: it reads and writes the file
 * as the server's way of authentication asks for, and returns when the server
 * is satisfied. The file is closed after it.
 */
export type Authenticate = (file: RemoteFile) => void | Promise<void>;

/** A user, and the tree that he wants. */
export interface Login {
  readonly uname: string;
  readonly aname: string;
  readonly auth: Authenticate | undefined;
}

/** Names a user and a tree in messages. */
export function nameOf({ uname, aname }: Omit<Login, "auth">): string {
  return `user "${uname}" to tree "${aname}" of`;
}

/** Begins the authentication of a user. */
export async function openAuth(
  session: ClientSession,
  { uname, aname }: Omit<Login, "auth">,
  signal?: AbortSignal,
): Promise<RemoteFile> {
  const open = await session.auth(uname, aname, signal);
  return new RemoteFile(open, open.fid);
}

/** Gets the root of a tree: Tauth and the dialogue where there is one, and Tattach. */
export async function login(
  session: ClientSession,
  who: Login,
): Promise<number> {
  const { uname, aname, auth } = who;
  const { peer } = session;
  const attach = (afid?: number) =>
    explained(
      `attach ${nameOf(who)}`,
      peer,
      () => session.attach(uname, aname, afid),
    );
  if (!auth) return await attach();
  const file = await explained(
    `authenticate ${nameOf(who)}`,
    peer,
    () => openAuth(session, who),
  );
  try {
    // It may wait for other things than the server.
    const dialogue = (async () => await auth(file))();
    const isOver = session.ended.then(() => Promise.reject(session.error));
    await Promise.race([dialogue, isOver]);
    return await attach(file.fid);
  } finally {
    file.close().catch(() => {});
  }
}
