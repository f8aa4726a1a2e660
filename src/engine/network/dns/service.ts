import { canonicalName } from "../../../contract/domain-name.ts";
import { decideName, mayAnswer, namesMatter } from "../policy/name-policy.ts";
import type { NetworkPolicy, Verdict } from "../policy/policy.ts";
import { extendedError } from "./extended-error.ts";
import { judgeAnswer } from "./judge-answer.ts";
import { type LocalAnswer, type LocalNames, localAnswer } from "./local-answer.ts";
import { answerTo, buildMessage, type DnsMessage, type DnsRecord, parseMessage } from "./message.ts";
import type { NameTable } from "./name-table.ts";
import { CLASS_IN, EDE, RCODE, TYPE, typeName } from "./record-types.ts";
import type { Resolver } from "./resolver.ts";
import { labelsOf, nameBytes } from "./wire-name.ts";

/**
 * The resolver that one sandbox sees, over UDP and TCP. A name that policy denies does not exist (NXDOMAIN: programs take it at
 * once and everywhere as final, where REFUSED makes some try again), and the reason is in the extended error (RFC 8914). An answer
 * whose addresses may all not be told is empty (NOERROR without records), since the name may have others of another type. What
 * is told goes into the name table, which rules for names go by. Questions for everything (ANY) and for zones are refused.
 *
 * Bounds: 256 questions at a time, others are refused; what the limit hook says; messages as in message.ts.
 */

/** One question, for the audit log. */
export interface QuestionRecord {
  name: string;
  /** `A`, `HTTPS`, … */
  type: string;
  allowed: boolean;
  rule: string;
  reason: string;
  /** Addresses that were told. */
  addresses: string[];
}

export interface DnsServiceOptions {
  /** Asked for at every question: rules change while a sandbox runs. */
  policy(): NetworkPolicy;
  resolver: Resolver;
  table: NameTable;
  local: LocalNames;
  /** Whether one more question may be asked now. Default: always. */
  mayAsk?(): boolean;
  onQuestion?(record: QuestionRecord): void;
}

/** What is said instead of records. */
interface Refusal {
  rcode: number;
  code: number;
  text: string;
}

type Outcome = { answer: DnsMessage; error?: { code: number; text: string } };

const MAX_PENDING = 256;
/** RFC 6891, 6.2.5 suggests 4096; the link to a guest takes more than the internet. */
const MAX_UDP = 4096;
const MIN_UDP = 512;
const MAX_TCP = 65_535;
/** How long answers of the gateway itself hold, s. Short: groups change. */
const LOCAL_TTL_S = 5;
const REFUSED_TYPES: ReadonlySet<number> = new Set([TYPE.ANY, TYPE.AXFR, TYPE.IXFR, TYPE.MAILA, TYPE.MAILB]);
/** Proof of what is not there, and for how long. */
const PROOF_TYPES: ReadonlySet<number> = new Set([TYPE.SOA, TYPE.RRSIG, 47, 50]);

export class DnsService {
  readonly #options: DnsServiceOptions;
  #pending = 0;

  constructor(options: DnsServiceOptions) {
    this.#options = options;
  }

  /** The answer's bytes; undefined where there is nothing to answer. Never rejects. */
  async answer(bytes: Uint8Array, via: "udp" | "tcp", signal: AbortSignal): Promise<Buffer | undefined> {
    const query = parseMessage(bytes);
    if (query === undefined) return formatError(bytes);
    if (query.response) return undefined;
    this.#pending += 1;
    try {
      const { answer, error } = await this.#outcome(query, signal);
      return fitting(answer, error, via, query.edns?.size);
    } catch (cause) {
      const text = `the host's resolvers do not answer: ${cause instanceof Error ? cause.message : cause}`;
      return fitting(
        answerTo(query, RCODE.SERVFAIL),
        { code: EDE.NO_REACHABLE_AUTHORITY, text },
        via,
        query.edns?.size,
      );
    } finally {
      this.#pending -= 1;
    }
  }

  async #outcome(query: DnsMessage, signal: AbortSignal): Promise<Outcome> {
    const { question } = query;
    const refusal = refusalOf(query) ?? this.#tooMuch();
    if (refusal !== undefined) return refused(query, refusal);
    // A label with a dot inside would read as two.
    const clear = question.labels.every((label) => !label.includes("."));
    const name = clear ? canonicalName(question.labels.join(".")) : undefined;
    if (name === undefined)
      return refused(query, { rcode: RCODE.REFUSED, code: EDE.NOT_SUPPORTED, text: "not a host name" });
    const policy = this.#options.policy();
    const local = localAnswer(name, question.type, this.#options.local, policy);
    if (local !== undefined) return this.#tellLocal(query, name, local);
    const verdict = decideName(policy, name);
    if (!verdict.allowed) return this.#deny(query, name, verdict);
    return await this.#ask(query, name, verdict, signal);
  }

  #tooMuch(): Refusal | undefined {
    if (this.#pending <= MAX_PENDING && (this.#options.mayAsk?.() ?? true)) return undefined;
    return { rcode: RCODE.REFUSED, code: EDE.PROHIBITED, text: "too many questions at a time" };
  }

  async #ask(query: DnsMessage, name: string, verdict: Verdict, signal: AbortSignal): Promise<Outcome> {
    const { question, edns } = query;
    const told = await this.#options.resolver.resolve(question, { dnssec: edns?.dnssec ?? false, signal });
    // The rules of now: they may have changed while we waited.
    const policy = this.#options.policy();
    const hiding = namesMatter(policy);
    const judged = judgeAnswer(
      { ...told, question },
      { keep: (address) => mayAnswer(policy, address), withoutEch: hiding, withoutOtherNames: hiding },
    );
    const final = decideName(policy, name, judged.aliases);
    if (!final.allowed) return this.#deny(query, name, final);
    const nothingLeft = judged.removed.length > 0 && judged.addresses.length === 0;
    for (const { address, ttlS } of judged.addresses) this.#options.table.give(name, address, ttlS);
    const text = `${judged.removed.length} addresses are not told: this sandbox may not reach ${judged.removed[0]?.text}`;
    this.#log(
      query,
      name,
      nothingLeft ? { allowed: false, rule: verdict.rule, reason: text } : verdict,
      judged.addresses.map(({ address }) => address.text),
    );
    const answer: DnsMessage = {
      ...answerTo(query, told.rcode),
      authenticData: told.authenticData && judged.removed.length === 0 && !hiding,
      answers: nothingLeft ? [] : judged.records,
      authority: nothingLeft ? [] : told.authority.filter(({ type }) => PROOF_TYPES.has(type)),
    };
    return judged.removed.length > 0 ? { answer, error: { code: EDE.BLOCKED, text } } : { answer };
  }

  #deny(query: DnsMessage, name: string, verdict: Verdict): Outcome {
    this.#log(query, name, verdict, []);
    return refused(query, { rcode: RCODE.NXDOMAIN, code: EDE.BLOCKED, text: verdict.reason });
  }

  #tellLocal(query: DnsMessage, name: string, local: LocalAnswer): Outcome {
    const { type, labels } = query.question;
    const record = (data: Uint8Array): DnsRecord => ({
      labels,
      type,
      class: CLASS_IN,
      ttl: LOCAL_TTL_S,
      data,
    });
    const version = type === TYPE.A ? 4 : type === TYPE.AAAA ? 6 : undefined;
    const addresses = local.addresses.filter((address) => address.version === version);
    for (const address of addresses) this.#options.table.give(name, address, LOCAL_TTL_S);
    const answers = addresses.map((address) => record(address.bytes));
    if (local.pointer !== undefined && type === TYPE.PTR)
      answers.push(record(Uint8Array.from(nameBytes(labelsOf(local.pointer)))));
    const allowed = local.rcode === RCODE.NOERROR;
    this.#log(
      query,
      name,
      { allowed, rule: "gateway", reason: local.why },
      addresses.map(({ text }) => text),
    );
    const answer = { ...answerTo(query, local.rcode), answers };
    return allowed ? { answer } : { answer, error: { code: EDE.BLOCKED, text: local.why } };
  }

  #log(query: DnsMessage, name: string, verdict: Verdict, addresses: string[]): void {
    const { allowed, rule, reason } = verdict;
    this.#options.onQuestion?.({
      name,
      type: typeName(query.question.type),
      allowed,
      rule,
      reason,
      addresses,
    });
  }
}

/** What no name makes acceptable. */
function refusalOf({ opcode, question, edns, answers, authority }: DnsMessage): Refusal | undefined {
  const refuse = (rcode: number, text: string): Refusal => ({ rcode, code: EDE.NOT_SUPPORTED, text });
  if (opcode !== 0) return refuse(RCODE.NOTIMP, "only questions are answered");
  if (answers.length + authority.length > 0) return refuse(RCODE.FORMERR, "a question holds no records");
  if (edns !== undefined && edns.version !== 0) return refuse(RCODE.BADVERS, "EDNS version 0 is spoken here");
  if (question.class !== CLASS_IN) return refuse(RCODE.REFUSED, "only the class IN is answered");
  if (REFUSED_TYPES.has(question.type) || question.type === TYPE.OPT)
    return refuse(RCODE.REFUSED, `questions of type ${typeName(question.type)} are not answered`);
  return undefined;
}

function refused(query: DnsMessage, { rcode, code, text }: Refusal): Outcome {
  return { answer: answerTo(query, rcode), error: { code, text } };
}

/** An answer that is too long for its way is empty and says so: the guest asks again over TCP. */
function fitting(answer: DnsMessage, error: Outcome["error"], via: "udp" | "tcp", taken = MIN_UDP): Buffer {
  const options = error === undefined ? undefined : extendedError(error.code, error.text);
  const bytes = buildMessage(answer, options);
  const udp = Math.min(Math.max(taken, MIN_UDP), MAX_UDP);
  if (bytes.length <= (via === "tcp" ? MAX_TCP : udp)) return bytes;
  return buildMessage({
    ...answer,
    truncated: via === "udp",
    rcode: via === "tcp" ? RCODE.SERVFAIL : answer.rcode,
    answers: [],
    authority: [],
    additional: [],
  });
}

/** The id is all that can be told of what cannot be read. */
function formatError(bytes: Uint8Array): Buffer | undefined {
  if (bytes.length < 12 || (bytes[2]! & 0x80) !== 0) return undefined;
  return Buffer.from([
    bytes[0]!,
    bytes[1]!,
    0x80 | (bytes[2]! & 0x79),
    0x80 | RCODE.FORMERR,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
  ]);
}
