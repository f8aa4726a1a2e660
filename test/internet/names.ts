import { createSocket } from "node:dgram";
import { once } from "node:events";
import { createServer } from "node:net";
import { answerTo, buildMessage, parseMessage } from "../../src/engine/network/dns/message.ts";
import { record } from "../../src/engine/network/testing/dns-messages.ts";

/** What fits into an answer over UDP; of a longer one the asker is told to come over TCP (RFC 1035, 4.2.1). */
const UDP_BYTES = 512;

/** A name server, over UDP and TCP, that knows what it is told in the words of zone files. */
export async function serveNames(port: number, zone: readonly string[]): Promise<void> {
  const records = zone.map(record);
  const answer = (bytes: Uint8Array, limit: number): Buffer | undefined => {
    const query = parseMessage(bytes);
    if (query === undefined) return undefined;
    const name = query.question.labels.join(".").toLowerCase();
    const known = records.filter(({ labels }) => labels.join(".") === name);
    const answers = known.filter(({ type }) => type === query.question.type);
    const full = { ...answerTo(query, known.length > 0 ? 0 : 3), answers };
    const built = buildMessage(full);
    return built.length <= limit ? built : buildMessage({ ...full, answers: [], truncated: true });
  };
  const udp = createSocket("udp4");
  udp.on("message", (bytes, from) => {
    const built = answer(bytes, UDP_BYTES);
    if (built !== undefined) udp.send(built, from.port, from.address);
  });
  udp.bind(port);
  const tcp = createServer((socket) => {
    let pending = Buffer.alloc(0);
    socket.on("error", () => {});
    socket.on("data", (chunk: Buffer) => {
      pending = Buffer.concat([pending, chunk]);
      while (pending.length >= 2 && pending.length >= 2 + pending.readUInt16BE(0)) {
        const end = 2 + pending.readUInt16BE(0);
        const built = answer(pending.subarray(2, end), 65_535);
        pending = pending.subarray(end);
        if (built === undefined) continue;
        const length = Buffer.alloc(2);
        length.writeUInt16BE(built.length);
        socket.write(Buffer.concat([length, built]));
      }
    });
  });
  tcp.listen(port, "0.0.0.0");
  await Promise.all([once(udp, "listening"), once(tcp, "listening")]);
}
