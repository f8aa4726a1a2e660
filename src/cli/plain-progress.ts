import type { LayerProgress, Progress } from "../sdk/index.ts";
import { shortDigest } from "./layer-table.ts";
import type { ProgressView } from "./progress-view.ts";
import { formatBytes } from "./quantity.ts";
import { note, printable } from "./terminal.ts";

/** A task that goes through many states in this time is told in its last. */
const TASK_INTERVAL_MS = 500;
/** A phase that is worth a line; of bytes there is no end. */
const TOLD = new Set<LayerProgress["phase"]>(["downloading", "uploading", "retrying", "exists", "done"]);

/** Progress where there is no terminal: a line for each task, and for each phase of a layer. */
export class PlainProgress implements ProgressView {
  readonly #phases = new Map<string, LayerProgress["phase"]>();
  #task: string | undefined;
  #next: string | undefined;
  #timer: NodeJS.Timeout | undefined;

  update({ task, layer }: Progress): void {
    if (layer === undefined) {
      this.#next = task;
      this.#flush();
      return;
    }
    if (this.#phases.get(layer.digest) === layer.phase || !TOLD.has(layer.phase)) return;
    this.#tell(task);
    this.#phases.set(layer.digest, layer.phase);
    const size = layer.totalBytes === undefined ? "" : ` (${formatBytes(layer.totalBytes)})`;
    const isMoving = layer.phase === "downloading" || layer.phase === "uploading";
    note(`msb: ${shortDigest(layer.digest)}: ${layer.phase}${isMoving ? size : ""}`);
  }

  begin(task: string): void {
    note(printable(task));
  }

  print(lines: string): void {
    note(lines);
  }

  done(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  #flush(): void {
    if (this.#timer !== undefined || this.#next === undefined) return;
    this.#tell(this.#next);
    this.#next = undefined;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#flush();
    }, TASK_INTERVAL_MS);
  }

  #tell(task: string): void {
    if (task === this.#task) return;
    this.#task = task;
    note(`msb: ${printable(task)} …`);
  }
}
