import type { IpAddress } from "../../../contract/ip-address.ts";
import type { NameTable } from "../dns/name-table.ts";
import type { FlowAddress } from "../flow.ts";
import type { NetworkPolicy, Question, Verdict } from "../policy/policy.ts";
import type { NameCheck } from "./guard.ts";

/** The addresses that mean something to one sandbox. */
export interface Landmarks {
  /** Of the gateway: it answers DNS and nothing else. */
  gateway: readonly IpAddress[];
  /** Those that stand for the host. */
  host: readonly IpAddress[];
}

/** What is to be decided of a flow of the guest. */
export function questionOf(
  flow: FlowAddress,
  protocol: "tcp" | "udp",
  landmarks: Landmarks,
  table: NameTable,
): Question {
  const { destination, destinationPort } = flow;
  return {
    direction: "egress",
    protocol,
    address: destination,
    port: destinationPort,
    names: table.namesOf(destination),
    host: landmarks.host.some((each) => each.equals(destination)),
  };
}

/**
 * The check of names that a connection carries. `required`: a rule for a name let it through, so there must be one, it must be
 * among those that the sandbox was given for this address, and a rule must allow it. `advisory`: one that is found must not be
 * denied. `seen` hears what was found, and what was decided for it.
 */
export function nameCheckOf(
  policy: () => NetworkPolicy,
  question: Question,
  inspect: "required" | "advisory",
  seen: (name: string | undefined, verdict: Verdict | undefined) => void,
): NameCheck {
  return (name) => {
    if (name === undefined) {
      seen(undefined, undefined);
      return inspect === "required"
        ? "the connection names no host, and only a rule for names allows it"
        : undefined;
    }
    if (inspect === "required" && !question.names.includes(name)) {
      seen(name, undefined);
      return `the connection is for ${name}, for which this sandbox was not given ${question.address.text}`;
    }
    const names = inspect === "required" ? [name] : [...question.names, name];
    const verdict = policy().decide({ ...question, names });
    seen(name, verdict);
    return verdict.allowed ? undefined : `the connection is for ${name}: ${verdict.reason}`;
  };
}

/** The name that is meant by an address, where it is known: of several it is not known yet which one. */
export function nameMeantBy({ names }: Pick<Question, "names">): string | undefined {
  return names.length === 1 ? names[0] : undefined;
}
