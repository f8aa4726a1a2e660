import type { FlowAddress } from "../flow.ts";
import { Audit } from "../outward/audit.ts";
import type { Question, Verdict } from "../policy/policy.ts";
import { addressOf, type Fellow, namesOf } from "./fellow.ts";

/**
 * One connection or exchange of datagrams between two fellows, as both ends decide about it and keep it in their logs: it is egress of
 * the caller and ingress of the callee, and goes through if both allow it. A callee does not hear of what the caller's rules deny.
 */

export interface Refusal {
  by: "caller" | "callee";
  verdict: Pick<Verdict, "rule" | "reason">;
}

export class Passage {
  readonly caller: Fellow;
  readonly callee: Fellow;
  /** As the callee's guest sees it: the caller's address is that of the group, whichever it sent from. */
  readonly flow: FlowAddress;
  readonly #egress: End;
  readonly #ingress: End;

  /** @param flow as the caller's guest sees it */
  constructor(caller: Fellow, callee: Fellow, protocol: "tcp" | "udp", flow: FlowAddress) {
    const { destination, destinationPort: port, sourcePort } = flow;
    const source = addressOf(caller, destination.version);
    this.caller = caller;
    this.callee = callee;
    this.flow = { source, sourcePort, destination, destinationPort: port };
    this.#egress = endOf(caller, {
      direction: "egress",
      protocol,
      address: destination,
      port,
      names: namesOf(callee),
      group: true,
    });
    this.#ingress = endOf(callee, {
      direction: "ingress",
      protocol,
      address: source,
      port,
      names: namesOf(caller),
      group: true,
    });
  }

  /** Asks both ends, by their rules of now. Undefined: it may pass. */
  refusal(): Refusal | undefined {
    const egress = this.#egress.decide();
    if (!egress.allowed) return { by: "caller", verdict: egress };
    const ingress = this.#ingress.decide();
    return ingress.allowed ? undefined : { by: "callee", verdict: ingress };
  }

  /** Bytes from the caller to the callee. */
  countOut(bytes: number): void {
    this.#egress.audit.bytesOut += bytes;
    this.#ingress.audit.bytesIn += bytes;
  }

  countBack(bytes: number): void {
    this.#egress.audit.bytesIn += bytes;
    this.#ingress.audit.bytesOut += bytes;
  }

  /** It was let through and is over, for no more reason than `but`. Later calls of this and of `refused` change nothing. */
  over(but?: string): void {
    for (const { audit, verdict } of [this.#egress, this.#ingress])
      audit.end(but === undefined ? verdict : { ...verdict, reason: `${verdict.reason}, but: ${but}` });
  }

  /**
   * One of both does not let it through, or no more.
   * @param told whether the callee's log has it: it hears of no more than it has to
   */
  refused({ by, verdict }: Refusal, told: boolean): void {
    const denied = { ...verdict, allowed: false };
    const { name } = this.callee;
    this.#egress.audit.end(
      by === "caller" ? denied : { ...denied, reason: `${name} does not let it in: ${verdict.reason}` },
    );
    if (!told) return;
    if (by === "callee") this.#ingress.audit.end(denied);
    else this.#ingress.audit.end({ ...this.#ingress.verdict, reason: `${this.caller.name} closed it` });
  }
}

interface End {
  readonly audit: Audit;
  /** The last one. */
  verdict: Verdict;
  decide(): Verdict;
}

function endOf(fellow: Fellow, question: Question & { port: number }): End {
  const end: End = {
    audit: new Audit(question, (record) => fellow.audit?.(record)),
    verdict: { allowed: false, rule: "", reason: "" },
    decide: () => {
      end.verdict = fellow.policy().decide(question);
      return end.verdict;
    },
  };
  return end;
}
