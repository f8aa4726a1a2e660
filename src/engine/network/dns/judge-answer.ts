import { canonicalName } from "../../../contract/domain-name.ts";
import { IpAddress } from "../../../contract/ip-address.ts";
import type { DnsMessage, DnsRecord } from "./message.ts";
import { CLASS_IN, TYPE } from "./record-types.ts";
import { filterSvcb, type SvcbRules } from "./svcb.ts";
import { nameKey, readName } from "./wire-name.ts";

/**
 * What of a resolver's answer a sandbox is told: the chain of aliases from the name that it asked for, and records of the asked
 * type at its end. Everything else (other names, glue, additional records) stays here, so that one name's owner cannot speak for
 * another. Addresses that may not be told are taken out: a public name that leads into a private network leads nowhere. Bounds:
 * 16 aliases; the message's own.
 */

export interface JudgedAnswer {
  records: DnsRecord[];
  /** Addresses in it, and how long they hold by the weakest link of the chain, seconds. */
  addresses: { address: IpAddress; ttlS: number }[];
  /** Canonical names that the asked one is an alias of. */
  aliases: string[];
  /** Addresses that were taken out. */
  removed: IpAddress[];
}

const MAX_ALIASES = 16;

export function judgeAnswer(message: DnsMessage, rules: SvcbRules): JudgedAnswer {
  const { type } = message.question;
  const chain = chainOf(message);
  const judged: JudgedAnswer = { records: [], addresses: [], aliases: chain.aliases, removed: [] };
  const keep = (address: IpAddress) => {
    const kept = rules.keep(address);
    if (!kept) judged.removed.push(address);
    return kept;
  };
  for (const record of message.answers) {
    const ttlS = chain.ttlS.get(nameKey(record.labels));
    if (ttlS === undefined || record.class !== CLASS_IN) continue;
    if (record.type !== type && !CHAIN_TYPES.has(record.type)) continue;
    const tell = (data: Uint8Array, addresses: IpAddress[]) => {
      judged.records.push({ ...record, data });
      for (const address of addresses) judged.addresses.push({ address, ttlS: Math.min(ttlS, record.ttl) });
    };
    if (record.type === TYPE.A || record.type === TYPE.AAAA) {
      const address = new IpAddress(Uint8Array.from(record.data));
      if (keep(address)) tell(record.data, [address]);
    } else if (record.type === TYPE.HTTPS || record.type === TYPE.SVCB) {
      const filtered = filterSvcb(record.data, { ...rules, keep });
      if (filtered !== undefined) tell(filtered.data, filtered.addresses);
    } else tell(record.data, []);
  }
  return judged;
}

const CHAIN_TYPES: ReadonlySet<number> = new Set([TYPE.CNAME, TYPE.DNAME, TYPE.RRSIG]);

/** Owners that count, by key, with the smallest TTL on the way to them; and the aliases as names. */
function chainOf({ question, answers }: DnsMessage): { ttlS: Map<string, number>; aliases: string[] } {
  let key = nameKey(question.labels);
  let least = Number.POSITIVE_INFINITY;
  const ttlS = new Map([[key, least]]);
  const aliases: string[] = [];
  for (let i = 0; i < MAX_ALIASES; i++) {
    for (const { type, labels } of answers)
      if (type === TYPE.DNAME && key.endsWith(`.${nameKey(labels)}`)) ttlS.set(nameKey(labels), least);
    const alias = answers.find((record) => record.type === TYPE.CNAME && nameKey(record.labels) === key);
    const target = alias && readName(alias.data, 0)?.labels;
    if (alias === undefined || target === undefined) break;
    key = nameKey(target);
    if (ttlS.has(key)) break;
    least = Math.min(least, alias.ttl);
    ttlS.set(key, least);
    const name = canonicalName(target.join("."));
    if (name !== undefined) aliases.push(name);
  }
  return { ttlS, aliases };
}
