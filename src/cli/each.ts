import { reportFailure } from "./failure.ts";
import { print } from "./terminal.ts";

/** Does something to each of several sandboxes, side by side, and prints the names of those where it worked. One failure does not stop the others. */
export async function each(
  refs: readonly string[],
  action: (ref: string) => Promise<unknown>,
): Promise<void> {
  const results = await Promise.allSettled(refs.map(action));
  results.forEach((result, index) => {
    if (result.status === "fulfilled") {
      print(refs[index]);
      return;
    }
    reportFailure(result.reason);
    process.exitCode = 1;
  });
}
