import { createReadStream } from "node:fs";
import { mkdir, readdir, readFile, rm } from "node:fs/promises";
import { cpus, tmpdir, totalmem } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { type Connection, connect, Daemon, Image, Sandbox, Template } from "../src/sdk/index.ts";

const ROOT = fileURLToPath(new URL("..", import.meta.url));
/** The kernel frees the memory of a process that has ended a little later. */
const SETTLE_MS = 100;
export const IMAGE = "msb/base";
export const SHAPE = { cpus: 1, memoryMiB: 256, volumeSlots: 0 } as const;

export interface BenchFiles {
  template: string;
  rootDisk: string;
  blank: string;
  assets: string;
}

/** A home of its own with the tiny image, a template and a running daemon of the built program. */
export class Workbench implements AsyncDisposable {
  readonly home: string;
  readonly connection: Connection;
  /** Asked for once: who measures a start does not measure this. */
  readonly #files = new Map<boolean, Promise<BenchFiles>>();
  description = "";

  private constructor(home: string) {
    this.home = home;
    this.connection = connect({ home });
  }

  static async open(): Promise<Workbench> {
    const home = join(tmpdir(), `msb-bench-${process.pid}`);
    await rm(home, { recursive: true, force: true });
    await mkdir(home, { recursive: true, mode: 0o711 });
    // What users run is the built program, not the sources.
    process.env.MSB_DAEMON = join(ROOT, "dist/daemon.js");
    const bench = new Workbench(home);
    const { connection } = bench;
    const config = JSON.parse(await readFile(join(ROOT, "build/images/msb-base.config.json"), "utf8"));
    await Image.import(IMAGE, createReadStream(join(ROOT, "build/images/msb-base.tar")), {
      connection,
      config,
    });
    const { accelerator, qemuVersion } = await Template.build(SHAPE, { connection });
    const memory = Math.round(totalmem() / 1024 ** 3);
    bench.description = `${cpus().length} × ${cpus()[0]?.model.trim()}, ${memory} GiB, QEMU ${qemuVersion}, ${accelerator}, Node ${process.versions.node}`;
    return bench;
  }

  get msb(): string {
    return join(ROOT, "bin/msb");
  }

  /** Folder of the template with an interface or without, of the one image's disk, and the file below every overlay. */
  files({ network }: { network: boolean }): Promise<BenchFiles> {
    const known = this.#files.get(network) ?? this.#find(network);
    this.#files.set(network, known);
    return known;
  }

  async #find(network: boolean): Promise<BenchFiles> {
    const only = async (folder: string) =>
      join(this.home, folder, (await readdir(join(this.home, folder)))[0]!);
    const [{ key }, rootDisk, assets] = await Promise.all([
      Template.build({ ...SHAPE, network }, { connection: this.connection }),
      only("images/disks"),
      only("assets"),
    ]);
    return {
      template: join(this.home, "templates", key),
      rootDisk,
      assets,
      blank: join(assets, "blank.ext4"),
    };
  }

  /** QEMU processes of this home: children of the jails that name it. */
  async vmPids(): Promise<number[]> {
    const pids: number[] = [];
    for (const name of (await readdir("/proc")).filter((n) => /^\d+$/.test(n))) {
      const line = await readFile(`/proc/${name}/cmdline`, "utf8").catch(() => "");
      if (!line.startsWith("bwrap\0") || !line.includes(this.home)) continue;
      const children = await readFile(`/proc/${name}/task/${name}/children`, "latin1").catch(() => "");
      pids.push(...children.trim().split(/\s+/).filter(Boolean).map(Number));
    }
    return pids;
  }

  /**
   * Waits until the VMs of what was measured last are gone: the next measurement must not pay for their end.
   * @param left how many go on. Default: 0
   */
  async settle(left = 0): Promise<void> {
    while ((await this.vmPids()).length > left) await sleep(5);
    await sleep(SETTLE_MS);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const sandbox of await Sandbox.list({ connection: this.connection }))
      await sandbox.remove({ force: true });
    await Daemon.stop({ connection: this.connection });
    await rm(this.home, { recursive: true, force: true });
  }
}
