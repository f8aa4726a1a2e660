import type { IpAddress } from "../../../contract/ip-address.ts";
import type { Protocol } from "../../../contract/network-ports.ts";
import type { Verdict } from "../policy/policy.ts";

/** One decision: written when it denies, and at the end of what it allowed. */
export interface AuditRecord {
  /** When it was decided, ms since 1970. */
  time: number;
  direction: "egress" | "ingress";
  protocol: Protocol;
  address: string;
  port: number;
  /** The name that decided or was found, else one that the sandbox was given for the address. */
  name?: string;
  rule: string;
  allowed: boolean;
  reason: string;
  /** From the guest. */
  bytesOut: number;
  /** To the guest. */
  bytesIn: number;
  durationMs: number;
  /** By which it was told of when it began. */
  flow?: number;
}

export interface AuditSubject {
  direction: "egress" | "ingress";
  protocol: Protocol;
  address: IpAddress;
  port: number;
  names: readonly string[];
  flow?: number | undefined;
}

/** Counts for one record, which it gives away once. */
export class Audit {
  readonly #subject: AuditSubject;
  readonly #give: (record: AuditRecord) => void;
  readonly #time = Date.now();
  readonly #start = performance.now();
  #given = false;
  /** Found in the connection itself. */
  name: string | undefined;
  bytesOut = 0;
  bytesIn = 0;

  constructor(subject: AuditSubject, give: ((record: AuditRecord) => void) | undefined) {
    this.#subject = subject;
    this.#give = give ?? (() => {});
  }

  /** Later calls change nothing. */
  end(verdict: Pick<Verdict, "allowed" | "rule" | "reason">): void {
    if (this.#given) return;
    this.#given = true;
    const { direction, protocol, address, port, names, flow } = this.#subject;
    const name = this.name ?? names.at(-1);
    this.#give({
      time: this.#time,
      direction,
      protocol,
      address: address.text,
      port,
      ...(name === undefined ? {} : { name }),
      rule: verdict.rule,
      allowed: verdict.allowed,
      reason: verdict.reason,
      bytesOut: this.bytesOut,
      bytesIn: this.bytesIn,
      durationMs: Math.round(performance.now() - this.#start),
      ...(flow === undefined ? {} : { flow }),
    });
  }
}
