// Trees of tasks, some of them at a time.

/** A task, and where it came from. */
interface TaskNode<T> {
  readonly task: T;
  readonly parent: TaskNode<T> | undefined;
  /** Tasks that it gave and that are not done. */
  left: number;
}

/**
 * Works through a tree of tasks. A task that gives others comes again when all
 * of them are done, until it gives none. Resolves when all are done, or
 * rejects with the first failure: then nothing new is begun, and what was
 * under way is waited for.
 *
 * @param most Most tasks that are worked on at a time.
 */
export function runTaskTree<T>(
  top: T,
  most: number,
  work: (task: T) => Promise<readonly T[]>,
): Promise<void> {
  return new Promise((resolve, reject) => {
    const stack: TaskNode<T>[] = [{ task: top, parent: undefined, left: 0 }];
    let running = 0;
    let failure: { error: unknown } | undefined;
    const advance = async (node: TaskNode<T>) => {
      const { task, parent } = node;
      const tasks = await work(task);
      node.left = tasks.length;
      for (const task of tasks) stack.push({ task, parent: node, left: 0 });
      if (tasks.length > 0 || !parent) return;
      if (--parent.left === 0) stack.push(parent);
    };
    const begin = () => {
      while (!failure && running < most) {
        const node = stack.pop();
        if (!node) break;
        running++;
        advance(node)
          .catch((error) => failure ??= { error })
          .finally(() => {
            running--;
            begin();
          });
      }
      if (running > 0) return;
      if (failure) reject(failure.error);
      else resolve();
    };
    begin();
  });
}
