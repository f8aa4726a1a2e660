import { type Mount, SandboxError } from "../../contract/index.ts";

/** Kinds of mounts that sandboxes can have so far. */
const WORKING: ReadonlySet<Mount["type"]> = new Set<Mount["type"]>([]);

/** @throws `unsupported` for a kind of mount that does not work yet; before anything was started */
export function assertMountsWork(mounts: readonly Mount[]): void {
  const broken = mounts.find(({ type }) => !WORKING.has(type));
  if (broken === undefined) return;
  throw new SandboxError(
    "unsupported",
    `a mount of type '${broken.type}' (${broken.target}) is not supported yet`,
  );
}
