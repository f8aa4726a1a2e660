import { canonicalName } from "../../../contract/domain-name.ts";
import { SandboxError } from "../../../contract/errors.ts";
import { IpAddress } from "../../../contract/ip-address.ts";
import type { NetworkExplanation, NetworkQuestion } from "../../../contract/network-record.ts";
import { judgeAnswer } from "../dns/judge-answer.ts";
import type { LocalNames } from "../dns/local-answer.ts";
import { CLASS_IN, TYPE } from "../dns/record-types.ts";
import type { Resolver } from "../dns/resolver.ts";
import { labelsOf } from "../dns/wire-name.ts";
import type { GroupMember } from "../group/member.ts";
import type { Landmarks } from "../outward/flow-question.ts";
import { decideName, mayAnswer } from "../policy/name-policy.ts";
import type { NetworkPolicy } from "../policy/policy.ts";

/**
 * What would become of a connection, without making it. A name is asked for as the sandbox's own question would be, but what is
 * answered gives the sandbox nothing.
 */

export interface ExplainContext {
  policy: NetworkPolicy;
  resolver: Resolver;
  local: LocalNames;
  landmarks: Landmarks;
  /** Of the sandbox's group; undefined if it is in none. */
  member: GroupMember | undefined;
  signal: AbortSignal;
}

type Addresses = NetworkExplanation["addresses"];

export async function explain(
  question: NetworkQuestion,
  context: ExplainContext,
): Promise<NetworkExplanation> {
  const literal = IpAddress.parse(question.host);
  if (literal !== undefined) return { addresses: [explainAddress(literal, [], question, context)] };
  const name = canonicalName(question.host);
  const ofName = (addresses: readonly IpAddress[]): Addresses =>
    addresses.map((address) => explainAddress(address, [name!], question, context));
  const fellow = name === undefined ? undefined : context.member?.names.addressesOf(name);
  if (fellow !== undefined) return { addresses: ofName(fellow) };
  if (name === undefined || question.direction === "ingress")
    throw new SandboxError(
      "invalid_argument",
      `'${question.host}' is no ${name === undefined ? "name and no " : ""}address`,
      {
        hint: "Ask about a name such as example.com, or an address such as 93.184.216.34; for ingress, an address.",
      },
    );
  const own = context.local.addressesOf(name);
  if (own !== undefined) return { addresses: ofName(own) };
  const { allowed, rule, reason } = decideName(context.policy, name);
  const told = { name, allowed, rule, reason };
  if (!allowed) return { name: told, addresses: [] };
  const found = await Promise.allSettled([TYPE.A, TYPE.AAAA].map((type) => ask(name, type, context)));
  const addresses = found.flatMap((each) => (each.status === "fulfilled" ? each.value : []));
  const failure = found.find((each) => each.status === "rejected");
  return {
    name: told,
    addresses: ofName(addresses),
    ...(addresses.length > 0
      ? {}
      : {
          failure:
            failure === undefined
              ? `${name} has no address that this sandbox may be told`
              : `the resolvers do not answer: ${failure.reason instanceof Error ? failure.reason.message : failure.reason}`,
        }),
  };
}

async function ask(
  name: string,
  type: number,
  { resolver, policy, signal }: ExplainContext,
): Promise<IpAddress[]> {
  const question = { labels: labelsOf(name), type, class: CLASS_IN };
  const told = await resolver.resolve(question, { dnssec: false, signal });
  const judged = judgeAnswer(
    { ...told, question },
    { keep: (address) => mayAnswer(policy, address), withoutEch: false, withoutOtherNames: false },
  );
  return judged.addresses.map(({ address }) => address);
}

function explainAddress(
  address: IpAddress,
  names: readonly string[],
  { direction, protocol, port }: NetworkQuestion,
  { policy, landmarks, member }: ExplainContext,
): Addresses[number] {
  const host = direction === "egress" && landmarks.host.some((each) => each.equals(address));
  const asked = { direction, protocol, address, port };
  const { verdict, place, steps } = member?.explain(asked) ?? policy.explain({ ...asked, names, host });
  return {
    address: address.text,
    place: place.name,
    allowed: verdict.allowed,
    rule: verdict.rule,
    reason: verdict.reason,
    nameMustShow: verdict.inspect === "required",
    steps,
  };
}
