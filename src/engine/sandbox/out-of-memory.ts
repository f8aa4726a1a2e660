import type { EventLog } from "../store/index.ts";
import type { SandboxLog } from "./log.ts";

/** After one was told, those that follow are gathered for so long: a guest can be out of memory a thousand times a second. */
const GATHER_MS = 10_000;

/** Tells, as an event and in the sandbox's log, what the guest's kernel kills for lack of memory; at a bounded pace. */
export class OutOfMemory {
  private readonly events: EventLog;
  private readonly sandbox: { id: string; name: string };
  private readonly log: SandboxLog;
  private gathered = 0;
  private timer: NodeJS.Timeout | undefined;

  constructor(events: EventLog, sandbox: { id: string; name: string }, log: SandboxLog) {
    this.events = events;
    this.sandbox = sandbox;
    this.log = log;
  }

  add(kills: number): void {
    this.gathered += kills;
    if (this.timer !== undefined) return;
    this.tell();
    this.timer = setTimeout(() => {
      this.timer = undefined;
      if (this.gathered > 0) this.add(0);
    }, GATHER_MS);
    this.timer.unref();
  }

  /** The VM is gone; what was gathered is told. */
  end(): void {
    clearTimeout(this.timer);
    this.timer = undefined;
    this.tell();
  }

  private tell(): void {
    const kills = this.gathered;
    if (kills === 0) return;
    this.gathered = 0;
    const { id, name } = this.sandbox;
    const message = `out of memory: the guest's kernel killed ${kills} process${kills === 1 ? "" : "es"}`;
    this.events.add({ type: "sandbox.oom", sandbox: id, message, data: { name, kills } });
    const time = new Date().toISOString();
    void this.log.append({ time, process: 0, stream: "system", text: `${message}\n` }).catch(() => {});
  }
}
