import { access } from "node:fs/promises";

/** Whether there is something at `path` that this process may reach. */
export function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}
