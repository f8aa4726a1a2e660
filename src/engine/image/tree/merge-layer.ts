import { SandboxError } from "../../../contract/errors.ts";
import type { Digest } from "../digest.ts";
import { readIndex } from "../layer/layer-index.ts";
import type { TreeBuilder } from "./tree.ts";

/**
 * Puts a stored layer on top of a tree. `index`: the path of its index.
 *
 * Errors: `invalid_argument` for an entry that does not fit, naming it and its layer; `not_found`, `internal` for a damaged index.
 */
export async function mergeLayer(tree: TreeBuilder, layer: Digest, index: string): Promise<void> {
  try {
    await tree.add(readIndex(index, layer, "marks"), readIndex(index, layer, "entries"));
  } catch (error) {
    if (!(error instanceof SandboxError) || error.code !== "invalid_argument") throw error;
    // The tree knows no digests; of an image of many layers, an entry alone would say little.
    throw new SandboxError(error.code, `layer ${layer}: ${error.message}`, {
      hint: error.hint,
      details: { ...error.details, layer },
      cause: error,
    });
  }
}
