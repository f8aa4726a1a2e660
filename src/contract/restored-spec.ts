import { SandboxError } from "./errors.ts";
import type { ShownSandboxSpec } from "./sandbox.ts";
import type { RestoreChanges } from "./snapshots.ts";

/**
 * The spec of a sandbox that is restored: that of the one which was stored, with the changes on top. Files that were put in place at its
 * first start are in its disk by now.
 *
 * @throws `invalid_argument` for a network where there was none, or none where there was one: the stored VM has its interface or has not
 */
export function restoredSpec(stored: ShownSandboxSpec, changes: RestoreChanges = {}): ShownSandboxSpec {
  const { env = {}, labels = {}, network = stored.network, ...rest } = changes;
  if ((network.scope === "none") !== (stored.network.scope === "none"))
    throw new SandboxError(
      "invalid_argument",
      stored.network.scope === "none"
        ? "the stored sandbox has no network: what is restored from it has none"
        : "the stored sandbox has a network: what is restored from it has one",
      {
        hint: "Store one that was created as you want it; or give it rules that allow nothing.",
        details: { field: "changes.network.scope" },
      },
    );
  const replaced = Object.entries(rest).filter(([, value]) => value !== undefined);
  return {
    ...stored,
    ...(Object.fromEntries(replaced) as Partial<ShownSandboxSpec>),
    network,
    env: { ...stored.env, ...env },
    labels: { ...stored.labels, ...labels },
    files: [],
  };
}
