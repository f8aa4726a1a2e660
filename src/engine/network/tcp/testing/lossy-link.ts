import type { IpAddress } from "../../../../contract/ip-address.ts";
import type { ManualClock } from "./manual-clock.ts";

/** What happens to one segment. */
export type Fate = "pass" | "lose" | "double" | "late" | "stall";

type Deliver = (from: IpAddress, to: IpAddress, segment: Uint8Array) => void;

const DELAY_MS = 1;
const LATE_MS = 40;
const STALL_MS = 700;

/** One direction of a link; each fault happens once, so that in the end all is delivered. */
export class LossyLink {
  /** Set when both ends are made. */
  deliver: Deliver = () => {};
  resume: () => void = () => {};
  sent = 0;
  #fates: Fate[];
  #stalled = false;
  readonly #clock: ManualClock;

  constructor(clock: ManualClock, fates: Fate[] = []) {
    this.#clock = clock;
    this.#fates = [...fates];
  }

  send = (from: IpAddress, to: IpAddress, header: Uint8Array, payload: Uint8Array): boolean => {
    this.sent++;
    const segment = new Uint8Array(header.length + payload.length);
    segment.set(header);
    segment.set(payload, header.length);
    const fate = this.#fates.shift() ?? "pass";
    if (fate !== "lose") this.#pass(from, to, segment, fate === "late" ? LATE_MS : DELAY_MS);
    if (fate === "double") this.#pass(from, to, segment, LATE_MS);
    if (fate === "stall" && !this.#stalled) {
      this.#stalled = true;
      this.#clock.after(STALL_MS, () => {
        this.#stalled = false;
        this.resume();
      });
    }
    return !this.#stalled;
  };

  #pass(from: IpAddress, to: IpAddress, segment: Uint8Array, ms: number): void {
    this.#clock.after(ms, () => this.deliver(from, to, segment));
  }
}
