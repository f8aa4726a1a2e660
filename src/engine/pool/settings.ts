import { totalmem } from "node:os";
import { z } from "zod";
import { SettingsFile } from "../image/index.ts";

/**
 * `pool.json`: what all pools together may take.
 *
 *     { "memoryMiB": 4096, "cpuShare": 0.5, "learn": true }
 */
const schema = z.strictObject({
  /** Memory that the VMs which wait may come to use, all together. 0: there are none. Default: half of the host's. */
  memoryMiB: z.int().min(0).optional(),
  /** Part of the time in which VMs may be made, 0 … 1. 0: none is made. */
  cpuShare: z.number().min(0).max(1).default(0.5),
  /** Whether some are kept of what was asked for recently. */
  learn: z.boolean().default(false),
});

export type PoolSettings = Omit<z.output<typeof schema>, "memoryMiB"> & { memoryMiB: number };

/** Read again when it has changed. */
export class PoolSettingsFile {
  readonly #file: SettingsFile<z.output<typeof schema>>;

  /** @param path of the file, which need not be there */
  constructor(path: string) {
    this.#file = new SettingsFile(path, schema);
  }

  /** @throws `invalid_argument` if the file is not valid */
  get(): PoolSettings {
    const { memoryMiB = Math.floor(totalmem() / 2 / 1024 ** 2), ...rest } = this.#file.get();
    return { memoryMiB, ...rest };
  }
}
