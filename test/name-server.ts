import { createSocket } from "node:dgram";
import { once } from "node:events";
import { answerTo, buildMessage, parseMessage } from "../src/engine/network/dns/message.ts";
import { record } from "../src/engine/network/testing/dns-messages.ts";

/** A resolver on the host's loopback that knows what it is told, in the words of zone files: `a.example 60 A 192.0.2.1`. */
export class NameServer implements Disposable {
  /** `127.0.0.1:PORT`. */
  readonly address: string;
  /** Names that were asked for. */
  readonly asked: string[] = [];
  readonly #socket;

  private constructor(socket: ReturnType<typeof createSocket>, lines: readonly string[]) {
    this.#socket = socket;
    this.address = `127.0.0.1:${socket.address().port}`;
    const records = lines.map(record);
    socket.on("message", (bytes, from) => {
      const query = parseMessage(bytes);
      if (query === undefined) return;
      const name = query.question.labels.join(".").toLowerCase();
      this.asked.push(name);
      const known = records.filter(({ labels }) => labels.join(".") === name);
      const answers = known.filter(({ type }) => type === query.question.type);
      const answer = { ...answerTo(query, known.length > 0 ? 0 : 3), answers };
      socket.send(buildMessage(answer), from.port, from.address);
    });
  }

  static async listen(...lines: string[]): Promise<NameServer> {
    const socket = createSocket("udp4");
    socket.bind(0, "127.0.0.1");
    await once(socket, "listening");
    return new NameServer(socket, lines);
  }

  [Symbol.dispose](): void {
    this.#socket.close();
  }
}
