import { createSocket } from "node:dgram";
import { once } from "node:events";
import { answerTo, buildMessage, type DnsRecord, parseMessage } from "../src/engine/network/dns/message.ts";
import { TYPE } from "../src/engine/network/dns/record-types.ts";
import { readName } from "../src/engine/network/dns/wire-name.ts";
import { record } from "../src/engine/network/testing/dns-messages.ts";

/**
 * A resolver that knows what it is told, in the words of zone files: `a.example 60 A 192.0.2.1`. It follows aliases. Of a name that
 * begins with `turning.` it tells one address at a time, each in its turn.
 */
export class NameServer implements Disposable {
  /** `127.0.0.1:PORT`. */
  readonly address: string;
  /** Names that were asked for. */
  readonly asked: string[] = [];
  readonly #records: readonly DnsRecord[];
  readonly #socket;

  private constructor(socket: ReturnType<typeof createSocket>, lines: readonly string[]) {
    this.#socket = socket;
    const { address, port } = socket.address();
    this.address = `${address}:${port}`;
    this.#records = lines.map(record);
    socket.on("message", (bytes, from) => {
      const query = parseMessage(bytes);
      if (query === undefined) return;
      const name = query.question.labels.join(".").toLowerCase();
      this.asked.push(name);
      const answers = this.#answers(name, query.question.type);
      const known = this.#records.some(({ labels }) => labels.join(".") === name);
      socket.send(buildMessage({ ...answerTo(query, known ? 0 : 3), answers }), from.port, from.address);
    });
  }

  /** On the loopback, at any port that is free. */
  static listen(...lines: string[]): Promise<NameServer> {
    return NameServer.listenOn("127.0.0.1", 0, lines);
  }

  static async listenOn(address: string, port: number, lines: readonly string[]): Promise<NameServer> {
    const socket = createSocket("udp4");
    socket.bind(port, address);
    await once(socket, "listening");
    return new NameServer(socket, lines);
  }

  [Symbol.dispose](): void {
    this.#socket.close();
  }

  #answers(name: string, type: number): DnsRecord[] {
    const here = this.#records.filter(({ labels }) => labels.join(".") === name);
    const alias = here.find((each) => each.type === TYPE.CNAME);
    if (alias !== undefined) {
      const target = readName(alias.data, 0)?.labels.join(".") ?? "";
      return [alias, ...this.#answers(target, type)];
    }
    const found = here.filter((each) => each.type === type);
    if (!name.startsWith("turning.") || found.length === 0) return found;
    const turn = this.asked.filter((each) => each === name).length;
    // A name is asked for both versions of addresses at once.
    return [found[Math.floor((turn - 1) / 2) % found.length]!];
  }
}
