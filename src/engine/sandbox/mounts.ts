import { type Mount, SandboxError } from "../../contract/index.ts";
import type { AgentConnection } from "../guest/index.ts";

/** What a sandbox has mounted beside its root, from the spec to the guest. */

/** Kinds of mounts that sandboxes can have so far. */
const WORKING: ReadonlySet<Mount["type"]> = new Set<Mount["type"]>(["tmpfs"]);

/** @throws `unsupported` for a kind of mount that does not work yet; before anything was started */
export function assertMountsWork(mounts: readonly Mount[]): void {
  const broken = mounts.find(({ type }) => !WORKING.has(type));
  if (broken === undefined) return;
  throw new SandboxError(
    "unsupported",
    `a mount of type '${broken.type}' (${broken.target}) is not supported yet`,
  );
}

/** Mount points that lie in other mounts come after those. */
export function inOrder(mounts: readonly Mount[]): Mount[] {
  // A path sorts before all that begin with it.
  return [...mounts].sort((a, b) => (a.target < b.target ? -1 : 1));
}

/** Has the guest mount all of them; after its setup and before its first process. */
export async function mountAll(
  agent: AgentConnection,
  mounts: readonly Mount[],
  wait: { signal?: AbortSignal | undefined },
): Promise<void> {
  for (const mount of inOrder(mounts)) {
    switch (mount.type) {
      case "tmpfs": {
        const { target, mode, sizeMiB } = mount;
        await agent.mount({ type: "tmpfs", target, mode, sizeBytes: sizeMiB * 1024 ** 2 }, wait);
        break;
      }
      default:
        assertMountsWork([mount]);
    }
  }
}
