import type { ChildProcess } from "node:child_process";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { SandboxError } from "../../../contract/index.ts";
import type {
  Capture,
  CaptureRequest,
  DiskLimits,
  Machine,
  MachineExit,
  MachineRecord,
  MachineStatistics,
} from "../machine.ts";
import { killExactly, startTimeOf } from "../process-identity.ts";
import { agentStreamIsTaken } from "./agent-stream.ts";
import { CONSOLE_BYTES, THROTTLE_GROUP } from "./arguments.ts";
import { diskBytes } from "./block-statistics.ts";
import { prepareCapture } from "./capture.ts";
import { endDiskCopies } from "./disk-copies.ts";
import { launchFailure, readLog } from "./launch.ts";
import { networkIsReady } from "./network.ts";
import { Qmp } from "./qmp.ts";

export const QMP_SOCKET = "qmp";
export const AGENT_SOCKET = "agent";
export const NETWORK_SOCKET = "net";
const CONTROL_TIMEOUT_MS = 10_000;
const STORE_TIMEOUT_MS = 60_000;
const STATISTICS_TIMEOUT_MS = 2_000;
const POLL_MS = 1;
/** How long QEMU may take to go once it was killed. */
const GONE_TIMEOUT_MS = 10_000;

export interface QemuMachineOptions {
  /** The process that we started, if it was us. */
  child?: ChildProcess | undefined;
  /** Folder, as QEMU sees it, whose `state` is loaded; the machine runs on from there at once. */
  loadFrom?: string | undefined;
  /** Folder, as QEMU sees it, in which `store` writes `state`. */
  storeTo?: string | undefined;
}

/**
 * One QEMU process. We are its control channel's peer, not its keeper: when this object or the whole daemon goes, QEMU
 * goes on. That it has gone is told by its control channel closing, or by its exit status where it is our child.
 */
export class QemuMachine implements Machine {
  readonly record: MachineRecord;
  readonly agentSocket: string;
  readonly networkSocket: string | undefined;
  readonly exited: Promise<MachineExit>;
  readonly controlled: Promise<void>;
  private readonly control: Promise<Qmp>;
  private settle: (exit: MachineExit) => void = () => {};
  private over = false;
  private killing = false;
  private detached = false;
  private shutdown: MachineExit | undefined;
  private child: ChildProcess | undefined;
  private readonly options: QemuMachineOptions;

  constructor(record: MachineRecord, options: QemuMachineOptions) {
    this.record = record;
    this.options = options;
    this.child = options.child;
    this.agentSocket = join(record.runDirectory, AGENT_SOCKET);
    this.networkSocket = record.network ? join(record.runDirectory, NETWORK_SOCKET) : undefined;
    this.exited = new Promise((resolve) => {
      this.settle = (exit) => {
        this.over = true;
        resolve(exit);
      };
    });
    // It may have ended before anybody could listen.
    if (this.child && (this.child.exitCode ?? this.child.signalCode) !== null) {
      void this.onChildExit(this.child.exitCode, this.child.signalCode);
    }
    this.child?.once("exit", (code, signal) => void this.onChildExit(code, signal));
    this.control = this.connectControl();
    this.controlled = this.control.then(() => {});
    // Whoever needs control hears of the failure there; nobody may, and that is no crash of the daemon.
    this.controlled.catch(() => {});
  }

  async pause(): Promise<void> {
    await (await this.control).execute("stop");
  }

  async resume(): Promise<void> {
    await (await this.control).execute("cont");
  }

  async agentStreamIsTaken(): Promise<void> {
    await agentStreamIsTaken(await this.control);
  }

  async runs(): Promise<boolean> {
    const { running } = (await (await this.control).execute("query-status")) as { running?: unknown };
    return running === true;
  }

  async prepareCapture(request: CaptureRequest): Promise<Capture> {
    return prepareCapture(await this.control, this.record, request);
  }

  async endCopies(): Promise<void> {
    await endDiskCopies(await this.control);
  }

  async limitDisks({ iops, bytesPerSecond }: DiskLimits): Promise<void> {
    const value = {
      ...(iops !== undefined && { "iops-total": iops }),
      ...(bytesPerSecond !== undefined && { "bps-total": bytesPerSecond }),
    };
    const path = `/objects/${THROTTLE_GROUP}`;
    await (await this.control).execute("qom-set", { path, property: "limits", value });
  }

  async store(options: { signal?: AbortSignal } = {}): Promise<void> {
    const qmp = await this.control;
    await qmp.execute("migrate", { uri: `file:${this.options.storeTo}/state` });
    const deadline = Date.now() + STORE_TIMEOUT_MS;
    for (;;) {
      options.signal?.throwIfAborted();
      const info = (await qmp.execute("query-migrate")) as { status?: string; "error-desc"?: string };
      if (info.status === "completed") return;
      if (info.status === "failed" || info.status === "cancelled") {
        throw new SandboxError(
          "internal",
          `QEMU could not store the state: ${info["error-desc"] ?? info.status}`,
        );
      }
      if (Date.now() > deadline) {
        throw new SandboxError(
          "timeout",
          `QEMU did not store the state within ${STORE_TIMEOUT_MS} ms (status: ${info.status})`,
        );
      }
      await sleep(POLL_MS);
    }
  }

  async kill(): Promise<void> {
    this.killing = true;
    await killExactly(this.record.pid, this.record.pidStartTime);
    const deadline = Date.now() + GONE_TIMEOUT_MS;
    while ((await startTimeOf(this.record.pid)) === this.record.pidStartTime) {
      if (Date.now() > deadline) {
        throw new SandboxError(
          "timeout",
          `QEMU (process ${this.record.pid}) did not end within ${GONE_TIMEOUT_MS} ms of being killed`,
        );
      }
      await sleep(POLL_MS);
    }
    this.settle({ cause: "killed", message: "the VM was killed" });
  }

  async statistics(): Promise<MachineStatistics> {
    const [stat, rollup, disks] = await Promise.all([
      readFile(`/proc/${this.record.pid}/stat`, "latin1"),
      readFile(`/proc/${this.record.pid}/smaps_rollup`, "latin1"),
      // A VMM that does not answer has used what it has used all the same.
      this.control
        .then((qmp) => qmp.execute("query-blockstats", undefined, STATISTICS_TIMEOUT_MS))
        .catch(() => []),
    ]).catch((cause) => {
      throw new SandboxError("unavailable", "the VM's process is gone", { cause });
    });
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return {
      // USER_HZ is 100 on every architecture that Linux supports today.
      cpuSeconds: (Number(fields[11]) + Number(fields[12])) / 100,
      // Anonymous pages. Pages of files that nobody else maps at the moment are the page cache's.
      privateBytes: Number(/^Anonymous:\s+(\d+)/m.exec(rollup)?.[1] ?? 0) * 1024,
      residentBytes: Number(/^Rss:\s+(\d+)/m.exec(rollup)?.[1] ?? 0) * 1024,
      ...diskBytes(disks),
    };
  }

  async console(): Promise<string> {
    if (this.over) return "";
    const qmp = await this.control;
    return String(
      await qmp.execute("ringbuf-read", { device: "console", size: CONSOLE_BYTES, format: "utf8" }),
    );
  }

  detach(): void {
    this.detached = true;
    this.child?.removeAllListeners();
    void this.control.then(
      (qmp) => qmp.close(),
      () => {},
    );
  }

  private async connectControl(): Promise<Qmp> {
    const path = join(this.record.runDirectory, QMP_SOCKET);
    const deadline = Date.now() + CONTROL_TIMEOUT_MS;
    for (;;) {
      try {
        const qmp = await Qmp.connect(path);
        this.watch(qmp);
        await this.negotiate(qmp);
        await this.noticeShutdown(qmp);
        return qmp;
      } catch (cause) {
        if (cause instanceof SandboxError && cause.code !== "unavailable") throw cause;
        // QEMU ended while we spoke; its exit, which follows at once, tells more than the closed channel.
        if (cause instanceof SandboxError && this.child !== undefined) await this.exited;
        // Until QEMU has made its sockets there is nothing to connect to.
        if (this.over) throw await launchFailure(this.record.runDirectory, (await this.exited).message);
        if (Date.now() > deadline || this.detached) {
          throw new SandboxError(
            "timeout",
            `QEMU's control socket did not answer within ${CONTROL_TIMEOUT_MS} ms`,
            { cause },
          );
        }
        await sleep(POLL_MS);
      }
    }
  }

  /**
   * Sent in one go: QEMU answers in order. `x-ignore-shared`: the memory file is the memory, only device state travels.
   * After `migrate-incoming` QEMU loads and runs the guest by itself.
   */
  private async negotiate(qmp: Qmp): Promise<void> {
    const { loadFrom, storeTo } = this.options;
    const commands = [qmp.execute("qmp_capabilities")];
    if (loadFrom !== undefined || storeTo !== undefined) {
      const capabilities = [{ capability: "x-ignore-shared", state: true }];
      commands.push(qmp.execute("migrate-set-capabilities", { capabilities }));
    }
    if (loadFrom !== undefined && this.networkSocket !== undefined) {
      commands.push(networkIsReady(qmp));
      await Promise.all(commands);
    }
    if (loadFrom !== undefined)
      commands.push(qmp.execute("migrate-incoming", { uri: `file:${loadFrom}/state` }));
    await Promise.all(commands);
  }

  private watch(qmp: Qmp): void {
    qmp.onEvent((event) => {
      if (event.event === "SHUTDOWN") void this.onShutdown(qmp, String(event.data.reason ?? ""));
    });
    void qmp.closed.then(() => {
      // Our child's exit tells more; it follows at once.
      if (this.child === undefined && !this.detached) void this.onGone();
    });
  }

  /** An adopted machine may have been shut down while nobody listened: it stands still until told to go. */
  private async noticeShutdown(qmp: Qmp): Promise<void> {
    if (this.child !== undefined) return;
    const { status } = (await qmp.execute("query-status")) as { status?: string };
    if (status === "shutdown" || status === "guest-panicked") void this.onShutdown(qmp, "guest-shutdown");
  }

  /** The guest has ended; QEMU stands still so that we can read the console. Then it may go. */
  private async onShutdown(qmp: Qmp, reason: string): Promise<void> {
    if (this.shutdown !== undefined) return;
    this.shutdown = { cause: "powered-off", message: "the guest powered off" };
    const text = await this.console().catch(() => "");
    const panic = /Kernel panic - not syncing: (.*)/.exec(text)?.[1]?.trim();
    if (panic !== undefined) {
      this.shutdown = { cause: "guest-panic", message: `the guest's kernel panicked: ${panic}` };
    } else if (reason === "guest-reset") {
      this.shutdown = {
        cause: "guest-reset",
        message: "the guest restarted itself; a sandbox does not reboot",
      };
    }
    await qmp.execute("quit").catch(() => {});
  }

  private async onChildExit(code: number | null, signal: NodeJS.Signals | null): Promise<void> {
    // Our child is the keeper of the jail; should it be killed alone, QEMU would run on with nobody to control it.
    await killExactly(this.record.pid, this.record.pidStartTime);
    if (this.shutdown !== undefined) return this.settle(this.shutdown);
    if (this.killing) return this.settle({ cause: "killed", message: "the VM was killed" });
    const log = await readLog(this.record.runDirectory);
    const last = log.split("\n").at(-1) ?? "";
    if (
      /load of migration failed|error while loading state|Unknown section|Section footer error/i.test(log)
    ) {
      return this.settle({
        cause: "state-rejected",
        message: `QEMU did not accept the stored state: ${last}`,
      });
    }
    // Bubblewrap passes a signal on as 128 + its number.
    const killed = signal ?? (code !== null && code > 128 ? `signal ${code - 128}` : undefined);
    const how = killed === undefined ? `exit code ${code}${last ? `: ${last}` : ""}` : killed;
    this.settle({ cause: "crashed", message: `the VM's process ended unexpectedly (${how})` });
  }

  private async onGone(): Promise<void> {
    // The control channel also closes if QEMU misbehaves on it; a VM that we cannot control must not run on.
    await killExactly(this.record.pid, this.record.pidStartTime);
    if (this.shutdown !== undefined) this.settle(this.shutdown);
    else if (this.killing) this.settle({ cause: "killed", message: "the VM was killed" });
    else this.settle({ cause: "crashed", message: "the VM's process ended unexpectedly" });
  }
}
