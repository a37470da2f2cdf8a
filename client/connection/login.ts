// Gets the root of a tree for a client: authentication, if any, and attach.

import { explained } from "../operation.ts";
import { RemoteFile } from "../file/remote_file.ts";
import type { ClientSession } from "./client_session.ts";

/**
 * Authenticates a user. The function reads and writes the file as the server's
 * way of authentication demands, and returns when the server is satisfied. The
 * client then closes the file.
 */
export type Authenticate = (file: RemoteFile) => void | Promise<void>;

/** A user and a tree. */
export interface Login {
  readonly uname: string;
  readonly aname: string;
  readonly auth: Authenticate | undefined;
}

/** Returns the text for a user and a tree in error messages. */
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

/**
 * Gets the root of a tree: Tauth and the authentication, if there is one, and
 * Tattach.
 */
export async function login(
  session: ClientSession,
  user: Login,
): Promise<number> {
  const { uname, aname, auth } = user;
  const { peer } = session;
  const attach = (afid?: number) =>
    explained(
      `attach ${nameOf(user)}`,
      peer,
      () => session.attach(uname, aname, afid),
    );
  if (!auth) return await attach();
  const file = await explained(
    `authenticate ${nameOf(user)}`,
    peer,
    () => openAuth(session, user),
  );
  try {
    // The function may wait for something other than the server.
    const dialogue = (async () => await auth(file))();
    const isOver = session.ended.then(() => Promise.reject(session.error));
    await Promise.race([dialogue, isOver]);
    return await attach(file.fid);
  } finally {
    file.close().catch(() => {});
  }
}
