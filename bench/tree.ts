// The files that the benches read, and their content.

/** Size of the file `small`, in bytes. */
export const SMALL = 64;
/** Size of a read from the file `large`, in bytes. */
export const LARGE = 65536;
/** Size of the file `bulk`, in bytes. */
export const BULK: number = 64 * 1024 * 1024;

/**
 * Returns bytes that depend on their offset, so that a read at a wrong offset
 * is detected.
 */
export function pattern(length: number): Uint8Array<ArrayBuffer> {
  return Uint8Array.from({ length }, (_, i) => i % 251);
}

/** The files of the tree. */
export function content(): Record<string, Uint8Array<ArrayBuffer>> {
  return { small: pattern(SMALL), large: pattern(LARGE) };
}
