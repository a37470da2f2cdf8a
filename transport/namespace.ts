// The name space directory of Plan 9 from User Space, where services have their
// Unix sockets.

import { badAddress } from "./failure.ts";

/** The environment variables that name the directory. */
export interface NamespaceEnvironment {
  /** The directory itself. */
  readonly NAMESPACE?: string | undefined;
  /** The user. */
  readonly USER?: string | undefined;
  /** The display of X; `:0` by default. */
  readonly DISPLAY?: string | undefined;
}

/**
 * Returns the address of a service of Plan 9 from User Space, such as `acme` or
 * `plumb`: its Unix socket in the directory that `namespace(1)` prints,
 * `/tmp/ns.USER.:0` by default.
 *
 * @param name Name of the service, which has no slash.
 * @param environment Variables of the environment; by default those of this
 *   process, for which Deno needs `--allow-env=NAMESPACE,USER,DISPLAY`.
 * @returns The address, such as `unix:///tmp/ns.glenda.:0/acme`.
 * @throws {TypeError} The name has a slash, or the user is not known.
 *
 * @example The socket of acme
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { namespaceAddress } from "@ninep/ninep/transport";
 *
 * assertEquals(
 *   namespaceAddress("acme", { USER: "glenda", DISPLAY: ":1.0" }),
 *   "unix:///tmp/ns.glenda.:1/acme",
 * );
 * ```
 */
export function namespaceAddress(
  name: string,
  environment: NamespaceEnvironment = variables(),
): string {
  if (name === "" || name.includes("/")) {
    throw badAddress(
      `Cannot find the service ${JSON.stringify(name)}: its name has no slash`,
    );
  }
  const { NAMESPACE, USER, DISPLAY } = environment;
  if (NAMESPACE) return `unix://${NAMESPACE}/${name}`;
  if (!USER) {
    throw badAddress(`Cannot find the service "${name}": USER is not set`);
  }
  // The screen does not count, and slashes of a socket's path become underscores.
  const display = (DISPLAY || ":0").replace(/(:[0-9]+)\.[0-9]+$/, "$1")
    .replaceAll("/", "_");
  return `unix:///tmp/ns.${USER}.${display}/${name}`;
}

function variables(): NamespaceEnvironment {
  // A cast is needed, because the types of Node are a package.
  const { process } = globalThis as unknown as {
    readonly process?: { readonly env?: NamespaceEnvironment };
  };
  const { NAMESPACE, USER, DISPLAY } = process?.env ?? {};
  return { NAMESPACE, USER, DISPLAY };
}
