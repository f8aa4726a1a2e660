import type { Progress } from "../contract/index.ts";

/**
 * Progress on its way to somebody who may read slowly. The producer cannot be held back, so what waits is bounded:
 *
 * - of a layer only the newest counts;
 * - of a task only the newest counts, and of tasks the newest 32: a build's steps are tasks, and short;
 * - output is kept whole and in order until 1 MiB of it waits. From then on it is left out, and how much was is said in its place.
 */
export const MAX_PENDING_OUTPUT = 1024 * 1024;
const MAX_PENDING_TASKS = 32;
/** What an entry costs beside its text. */
const ENTRY_COST = 256;

interface Pending {
  progress: Progress;
  /** Characters of output that were left out here. */
  leftOut?: number;
}

export class ProgressQueue {
  #pending: Pending[] = [];
  #outputCost = 0;

  push(progress: Progress): void {
    if (progress.output !== undefined) this.#pushOutput(progress, progress.output);
    else if (progress.layer !== undefined) this.#pushLayer(progress, progress.layer.digest);
    else this.#pushTask(progress);
  }

  /** The oldest that waits. */
  shift(): Progress | undefined {
    const first = this.#pending.shift();
    if (first === undefined) return undefined;
    const { progress, leftOut } = first;
    if (leftOut !== undefined) {
      return {
        ...progress,
        output: `\n[${leftOut} characters of output were left out: they were read too slowly]\n`,
      };
    }
    if (progress.output !== undefined) this.#outputCost -= costOf(progress);
    return progress;
  }

  #pushOutput(progress: Progress, output: string): void {
    const cost = costOf(progress);
    if (this.#outputCost + cost > MAX_PENDING_OUTPUT) {
      // Gaps without output between them are one, so that there are never more of them than of output.
      const last = this.#pending.findLast((entry) => entry.leftOut !== undefined || isOutput(entry));
      if (last?.leftOut !== undefined) last.leftOut += output.length;
      else this.#pending.push({ progress: { task: progress.task }, leftOut: output.length });
      return;
    }
    this.#outputCost += cost;
    this.#pending.push({ progress });
  }

  #pushLayer(progress: Progress, digest: string): void {
    const same = this.#pending.find((entry) => !isOutput(entry) && entry.progress.layer?.digest === digest);
    if (same) same.progress = progress;
    else this.#pending.push({ progress });
  }

  #pushTask(progress: Progress): void {
    const tasks = this.#pending.filter(isTask);
    const newest = tasks.at(-1);
    if (newest?.progress.task === progress.task) newest.progress = progress;
    else {
      this.#pending.push({ progress });
      if (tasks.length === MAX_PENDING_TASKS) this.#pending.splice(this.#pending.indexOf(tasks[0]!), 1);
    }
  }
}

function isOutput({ progress }: Pending): boolean {
  return progress.output !== undefined;
}

function isTask({ progress, leftOut }: Pending): boolean {
  return progress.output === undefined && progress.layer === undefined && leftOut === undefined;
}

function costOf({ task, output = "" }: Progress): number {
  return ENTRY_COST + task.length + output.length;
}
