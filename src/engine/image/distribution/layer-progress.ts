import type { LayerProgress } from "../../../contract/images.ts";
import type { Descriptor } from "../manifest.ts";

/** Often enough to look alive. */
const INTERVAL_MS = 200;

/** Tells of layers as they go: every change of phase, and bytes a few times a second. */
export function layerProgress(
  task: string,
  tell: ((progress: { task: string; layer: LayerProgress }) => void) | undefined,
): (layer: Pick<Descriptor, "digest" | "size">, phase: LayerProgress["phase"], bytes: number) => void {
  const told = new Map<string, { phase: string; atMs: number }>();
  return ({ digest, size }, phase, bytes) => {
    const last = told.get(digest);
    const now = performance.now();
    if (last?.phase === phase && now - last.atMs < INTERVAL_MS) return;
    told.set(digest, { phase, atMs: now });
    tell?.({ task, layer: { digest, phase, bytes, totalBytes: size } });
  };
}
