// Many small tasks, some of them at a time.

/**
 * Works through a stack of tasks, which may put further ones on it. Resolves
 * when all are done, or rejects with the first failure: then nothing new is
 * begun, and what was under way is waited for.
 */
export function drain<T>(
  tasks: T[],
  most: number,
  work: (task: T) => Promise<void>,
): Promise<void> {
  return new Promise((resolve, reject) => {
    let running = 0;
    let failure: { error: unknown } | undefined;
    const advance = () => {
      while (!failure && running < most && tasks.length > 0) {
        running++;
        // There is one, as just asked; undefined may be one, too.
        work(tasks.pop() as T)
          .catch((error) => failure ??= { error })
          .finally(() => {
            running--;
            advance();
          });
      }
      if (running > 0) return;
      if (failure) reject(failure.error);
      else resolve();
    };
    advance();
  });
}
