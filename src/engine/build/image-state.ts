/** What a build has made so far: layers, and the OCI configuration that goes with them. Plain data; each change gives a new one. */

import {
  type Digest,
  type ImageConfig,
  type OciImage,
  parseOciConfig,
  type StoredImage,
  sha256,
} from "../image/index.ts";

export interface ImageState {
  /** Lowest first. */
  layers: readonly Digest[];
  oci: OciImage;
  /** What has led here: the key of the build cache. */
  key: string;
}

/** Docker's spelling of the part that says how the image is run. */
type RunConfig = Record<string, unknown>;

export function scratch(platform: string): ImageState {
  const [os = "linux", architecture = ""] = platform.split("/");
  return {
    layers: [],
    oci: { os, architecture, config: {}, rootfs: { type: "layers", diff_ids: [] }, history: [] },
    key: sha256(`scratch ${platform}`),
  };
}

export function fromImage(image: StoredImage): ImageState {
  const layers = image.layers.map(({ digest }) => digest);
  return { layers, oci: image.oci, key: image.digest };
}

export interface Step {
  /** As history shows it. */
  createdBy: string;
  /** What distinguishes this step from others on the same state, beside `createdBy`. */
  key?: string | undefined;
  /** ISO 8601. */
  created?: string | undefined;
  /** None for a step that only says something. */
  layer?: Digest | undefined;
  change?: ((config: RunConfig) => RunConfig) | undefined;
  author?: string | undefined;
}

/** The key that a step will have on this state. */
export function stepKey(state: ImageState, step: Pick<Step, "createdBy" | "key">): string {
  return sha256(JSON.stringify([state.key, step.createdBy, step.key ?? ""]));
}

export function withStep(state: ImageState, step: Step): ImageState {
  const { oci } = state;
  const created = step.created ?? oci.created ?? undefined;
  const layers = step.layer === undefined ? state.layers : [...state.layers, step.layer];
  const entry = {
    ...(created === undefined ? {} : { created }),
    created_by: step.createdBy,
    ...(step.layer === undefined ? { empty_layer: true } : {}),
  };
  const config = oci.config ?? {};
  return {
    layers,
    key: stepKey(state, step),
    oci: {
      ...oci,
      ...(created === undefined ? {} : { created }),
      ...(step.author === undefined ? {} : { author: step.author }),
      config: step.change === undefined ? config : step.change(config),
      rootfs: { type: "layers", diff_ids: [...layers] },
      history: [...(oci.history ?? []), entry],
    },
  };
}

export function runConfigOf(state: ImageState): ImageConfig {
  return parseOciConfig(state.oci.config);
}

/** The configuration as an image has it; `labels` go on top. */
export function encodeState(state: ImageState, labels: Record<string, string> = {}): Buffer {
  const config = state.oci.config ?? {};
  const merged = { ...(config.Labels as Record<string, string> | null | undefined), ...labels };
  return Buffer.from(
    JSON.stringify({
      ...state.oci,
      config: Object.keys(merged).length === 0 ? config : { ...config, Labels: merged },
    }),
  );
}

/**
 * The state with layers on top that are not part of it: for a step that needs them. Its history makes it none that anybody could have,
 * since it is dropped after the step.
 */
export function withExtraLayers(state: ImageState, layers: readonly Digest[]): Buffer {
  const history = [{ created_by: "msb build: the start of a step", empty_layer: true }];
  return encodeState({
    ...state,
    oci: { ...state.oci, history, rootfs: { type: "layers", diff_ids: [...state.layers, ...layers] } },
  });
}

/** `NAME=value` pairs on top of others: one that is there is replaced where it stands. */
export function withEnv(config: RunConfig, pairs: readonly (readonly [string, string])[]): RunConfig {
  const env = [...((config.Env as string[] | null | undefined) ?? [])];
  for (const [name, value] of pairs) {
    const at = env.findIndex((entry) => entry.startsWith(`${name}=`));
    if (at === -1) env.push(`${name}=${value}`);
    else env[at] = `${name}=${value}`;
  }
  return { ...config, Env: env };
}

/** Names added to one of Docker's sets. */
export function withSet(
  config: RunConfig,
  key: "ExposedPorts" | "Volumes",
  names: readonly string[],
): RunConfig {
  const added = Object.fromEntries(names.map((name) => [name, {}]));
  return { ...config, [key]: { ...(config[key] as object | null | undefined), ...added } };
}
