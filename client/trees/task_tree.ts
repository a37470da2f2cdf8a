// Runs a tree of tasks with bounded concurrency.

/** A task, and the task that it came from. */
interface TaskNode<T> {
  readonly task: T;
  readonly parent: TaskNode<T> | undefined;
  /** Number of its tasks that are not done. */
  left: number;
}

/**
 * Runs a tree of tasks. A task may return further tasks. It runs again when all
 * of these are done, until it returns none. The promise resolves when all tasks
 * are done. After a failure no task begins, and the promise rejects when the
 * tasks under way have ended.
 *
 * @param most Most tasks at a time.
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
