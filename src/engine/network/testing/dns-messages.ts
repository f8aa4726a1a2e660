import { IpAddress } from "../../../contract/ip-address.ts";
import { answerTo, buildMessage, type DnsMessage, type DnsRecord, parseMessage } from "../dns/message.ts";
import { RCODE, TYPE } from "../dns/record-types.ts";
import type { Resolver } from "../dns/resolver.ts";
import { labelsOf, nameBytes } from "../dns/wire-name.ts";

/** Messages of tests, in the words of zone files. */

export function queryOf(name: string, type: number = TYPE.A, over: Partial<DnsMessage> = {}): DnsMessage {
  return {
    id: 0x1234,
    response: false,
    opcode: 0,
    authoritative: false,
    truncated: false,
    recursionDesired: true,
    recursionAvailable: false,
    authenticData: false,
    checkingDisabled: false,
    rcode: 0,
    question: { labels: labelsOf(name), type, class: 1 },
    answers: [],
    authority: [],
    additional: [],
    edns: { size: 1232, version: 0, dnssec: false },
    ...over,
  };
}

export function record(line: string): DnsRecord {
  const [name, ttl, type, ...data] = line.split(" ") as [string, string, keyof typeof TYPE, ...string[]];
  const base = { labels: labelsOf(name), type: TYPE[type], class: 1, ttl: Number(ttl) };
  if (type === "A" || type === "AAAA") return { ...base, data: IpAddress.parse(data[0]!)!.bytes };
  if (type === "CNAME" || type === "DNAME" || type === "NS" || type === "PTR")
    return { ...base, data: Uint8Array.from(nameBytes(labelsOf(data[0]!))) };
  return { ...base, data: Uint8Array.from(Buffer.from(data.join(""), "hex")) };
}

/** A resolver that knows these lines, and aliases among them; it counts what it was asked. */
export function zone(...lines: string[]): Resolver & { asked: string[] } {
  const records = lines.map(record);
  const asked: string[] = [];
  return {
    asked,
    async resolve(question) {
      asked.push(question.labels.join("."));
      const query = queryOf("", question.type, { question });
      return { ...answerTo(query, records.length > 0 ? RCODE.NOERROR : RCODE.NXDOMAIN), answers: records };
    },
  };
}

export const roundTrip = (message: DnsMessage): DnsMessage | undefined => parseMessage(buildMessage(message));
