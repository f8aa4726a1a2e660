import type { LayerProgress } from "../sdk/index.ts";
import { displayWidth } from "./display-width.ts";
import { formatBytes } from "./quantity.ts";
import { printable } from "./terminal.ts";

/** The layers of a pull or a push, a line each: digest, phase, bytes, rate. */

/** Over which time a rate is taken. */
const RATE_WINDOW_MS = 3000;
/** Before so much of it has passed a rate says nothing. */
const MIN_RATE_MS = 400;
/** An image has no more layers than this by far; somebody who names more is not given memory for them. */
const MAX_LAYERS = 1000;

const MOVING = new Set<LayerProgress["phase"]>(["downloading", "uploading"]);
const OVER = new Set<LayerProgress["phase"]>(["done", "exists"]);

interface Layer extends LayerProgress {
  samples: { atMs: number; bytes: number }[];
}

export class LayerTable {
  readonly #layers = new Map<string, Layer>();

  get isOver(): boolean {
    return [...this.#layers.values()].every(({ phase }) => OVER.has(phase));
  }

  clear(): void {
    this.#layers.clear();
  }

  update(layer: LayerProgress, nowMs: number): void {
    const before = this.#layers.get(layer.digest);
    if (before === undefined && this.#layers.size >= MAX_LAYERS) return;
    const isMoving = before !== undefined && before.phase === layer.phase && MOVING.has(layer.phase);
    // A layer that begins again has another rate.
    const samples = isMoving && layer.bytes >= before.bytes ? before.samples : [];
    samples.push({ atMs: nowMs, bytes: layer.bytes });
    while (samples.length > 2 && nowMs - samples[0]!.atMs > RATE_WINDOW_MS) samples.shift();
    this.#layers.set(layer.digest, { ...layer, samples });
  }

  /** At most `rows` lines, none wider than `columns`. What is under way comes before what waits and what is over. */
  lines(columns: number, rows: number, nowMs: number): string[] {
    const all = [...this.#layers.values()];
    const phaseWidth = Math.max(0, ...all.map(({ phase }) => phase.length));
    const line = (layer: Layer) => layerLine(layer, phaseWidth, columns, nowMs);
    if (all.length <= rows) return all.map(line);
    const active = all.filter(({ phase }) => phase !== "waiting" && !OVER.has(phase));
    const shown = active.slice(0, Math.max(0, rows - 1));
    const count = (phases: (layer: Layer) => boolean, word: string) => {
      const number = all.filter((layer) => !shown.includes(layer) && phases(layer)).length;
      return number === 0 ? [] : [`${number} ${word}`];
    };
    const rest = [
      ...count(({ phase }) => phase !== "waiting" && !OVER.has(phase), "more under way"),
      ...count(({ phase }) => phase === "waiting", "waiting"),
      ...count(({ phase }) => OVER.has(phase), "done"),
    ];
    return [...shown.map(line), rest.join(", ")];
  }
}

/** The first 12 digits of a digest, as people know them. */
export function shortDigest(digest: string): string {
  return printable(digest.replace(/^sha256:/, "").slice(0, 12));
}

/** As much as fits: the rate goes first, then the total, then the bytes. */
function layerLine(layer: Layer, phaseWidth: number, columns: number, nowMs: number): string {
  const digest = shortDigest(layer.digest);
  const { phase, bytes, totalBytes } = layer;
  if (phase === "waiting" || OVER.has(phase)) return `${digest}  ${phase}`;
  const head = `${digest}  ${phase.padEnd(phaseWidth)}`;
  const done = `${head}  ${formatBytes(bytes).padStart(9)}`;
  const ofTotal = totalBytes === undefined ? done : `${done} of ${formatBytes(totalBytes)}`;
  const rate = MOVING.has(phase) ? rateOf(layer, nowMs) : undefined;
  const full = rate === undefined ? ofTotal : `${ofTotal.padEnd(head.length + 24)}  ${formatBytes(rate)}/s`;
  const short = `${digest}  ${phase} ${formatBytes(bytes)}`;
  const choices = [full, ofTotal, done, short, `${digest}  ${phase}`];
  return choices.find((choice) => displayWidth(choice) <= columns) ?? digest;
}

/** Bytes per second, of late. */
function rateOf({ samples, bytes }: Layer, nowMs: number): number | undefined {
  const first = samples[0];
  if (first === undefined || nowMs - first.atMs < MIN_RATE_MS) return undefined;
  return ((bytes - first.bytes) * 1000) / (nowMs - first.atMs);
}
