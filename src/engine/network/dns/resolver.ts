import { randomInt } from "node:crypto";
import { askOverTcp, askOverUdp } from "./exchange.ts";
import { HostResolvers, type ResolverAddress } from "./host-resolvers.ts";
import { buildMessage, type DnsMessage, type DnsQuestion, OUR_SIZE, parseMessage } from "./message.ts";
import { CLASS_IN, RCODE } from "./record-types.ts";
import { nameKey } from "./wire-name.ts";

/**
 * Asks the host's resolvers, as a stub does (RFC 1035, 7): over UDP, over TCP where the answer was cut; the next server where one
 * is silent, fails or refuses; twice around, in less time than a guest's own resolver waits (5 s with glibc). A guest's message
 * is never passed on: the question is asked anew, with an id and a source port that are not to be guessed. Letters keep the
 * case that the guest wrote; it is compared without case (no 0x20 encoding: resolvers that do not keep the case are in use).
 */

export interface Resolver {
  /** The answer as it came, its records not yet judged. Rejects where no resolver answered. */
  resolve(question: DnsQuestion, options: { dnssec: boolean; signal: AbortSignal }): Promise<DnsMessage>;
}

export interface HostResolverOptions {
  /** Default: those of /etc/resolv.conf. */
  servers?: () => Promise<ResolverAddress[]>;
  /** How long one server may take, ms. */
  tryMs?: number;
  /** And all together. */
  totalMs?: number;
}

const ROUNDS = 2;

export class HostResolver implements Resolver {
  readonly #servers: () => Promise<ResolverAddress[]>;
  readonly #tryMs: number;
  readonly #totalMs: number;
  /** The server that answered last is asked first. */
  #good: string | undefined;

  constructor(options: HostResolverOptions = {}) {
    const host = new HostResolvers();
    this.#servers = options.servers ?? (() => host.servers());
    this.#tryMs = options.tryMs ?? 1500;
    this.#totalMs = options.totalMs ?? 4500;
  }

  async resolve(
    question: DnsQuestion,
    options: { dnssec: boolean; signal: AbortSignal },
  ): Promise<DnsMessage> {
    const deadline = performance.now() + this.#totalMs;
    const servers = await this.#servers();
    const order = servers.toSorted(
      (a, b) => Number(keyOf(b) === this.#good) - Number(keyOf(a) === this.#good),
    );
    let failure: unknown = new Error("there is no resolver");
    let last: DnsMessage | undefined;
    for (let round = 0; round < ROUNDS; round++) {
      for (const server of order) {
        const timeoutMs = Math.min(this.#tryMs, deadline - performance.now());
        if (timeoutMs <= 0 || options.signal.aborted) break;
        try {
          const answer = await ask(server, question, options.dnssec, { timeoutMs, signal: options.signal });
          if (answer.rcode !== RCODE.SERVFAIL && answer.rcode !== RCODE.REFUSED) {
            this.#good = keyOf(server);
            return answer;
          }
          last = answer;
        } catch (error) {
          failure = error;
        }
      }
      // All of them answered, and will not say anything else.
      if (last !== undefined) return last;
    }
    throw failure;
  }
}

const keyOf = ({ host, port }: ResolverAddress): string => `${host} ${port}`;

async function ask(
  server: ResolverAddress,
  question: DnsQuestion,
  dnssec: boolean,
  wait: { timeoutMs: number; signal: AbortSignal },
): Promise<DnsMessage> {
  const id = randomInt(0x10000);
  const query = buildMessage(queryOf(id, question, dnssec));
  const accept = (bytes: Buffer) => {
    const message = parseMessage(bytes);
    return message !== undefined && isAnswerTo(message, id, question) ? message : undefined;
  };
  const answer = await askOverUdp(server, query, accept, wait);
  return answer.truncated ? await askOverTcp(server, query, accept, wait) : answer;
}

function isAnswerTo(message: DnsMessage, id: number, question: DnsQuestion): boolean {
  return (
    message.response &&
    message.opcode === 0 &&
    message.id === id &&
    message.question.type === question.type &&
    message.question.class === question.class &&
    nameKey(message.question.labels) === nameKey(question.labels)
  );
}

function queryOf(id: number, question: DnsQuestion, dnssec: boolean): DnsMessage {
  return {
    id,
    response: false,
    opcode: 0,
    authoritative: false,
    truncated: false,
    recursionDesired: true,
    recursionAvailable: false,
    authenticData: dnssec,
    checkingDisabled: false,
    rcode: RCODE.NOERROR,
    question: { ...question, class: CLASS_IN },
    answers: [],
    authority: [],
    additional: [],
    edns: { size: OUR_SIZE, version: 0, dnssec },
  };
}
