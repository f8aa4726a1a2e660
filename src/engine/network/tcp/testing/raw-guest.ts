import type { IpAddress } from "../../../../contract/ip-address.ts";
import { ACK, buildTcpHeader, parseTcp, SYN, type TcpHeader, type TcpSegment } from "../../packet/tcp.ts";
import type { TcpConnection } from "../connection.ts";
import { TcpLayer } from "../layer.ts";
import type { TcpLimits } from "../limits.ts";
import type { TcpRequest } from "../request.ts";
import { FLOW } from "./back-to-back.ts";
import { ManualClock, settle } from "./manual-clock.ts";

/** Our side's first sequence number here; the guest's is 1000. */
export const OURS = 5000;
export const GUESTS = 1000;
const NOTHING = new Uint8Array(0);

/** A guest that sends whatever segment a test wants, and keeps what it is sent. */
export class RawGuest {
  readonly clock = new ManualClock();
  readonly requests: TcpRequest[] = [];
  readonly sent: TcpSegment[] = [];
  readonly layer: TcpLayer;
  /** What the link answers to a segment. */
  linkTakesMore = true;

  constructor(limits: Partial<TcpLimits> = {}) {
    this.layer = new TcpLayer({
      mtu: 1500,
      clock: this.clock,
      limits,
      initialSequence: () => OURS,
      request: (request) => void this.requests.push(request),
      send: (_from: IpAddress, _to: IpAddress, header, payload) => {
        const bytes = new Uint8Array([...header, ...payload]);
        this.sent.push(parseTcp(bytes)!);
        return this.linkTakesMore;
      },
    });
  }

  /** A segment of `FLOW`, or with the ports that are given. */
  async send(fields: Partial<TcpHeader>, payload: Uint8Array = NOTHING, options?: { windowScale: number }) {
    const header = {
      sourcePort: FLOW.sourcePort,
      destinationPort: FLOW.destinationPort,
      sequence: GUESTS + 1,
      acknowledgment: OURS + 1,
      flags: ACK,
      window: 10_000,
      ...fields,
    };
    const built = buildTcpHeader(FLOW.source, FLOW.destination, header, payload, options);
    this.layer.receive(FLOW.source, FLOW.destination, new Uint8Array([...built, ...payload]));
    await settle();
  }

  async syn(sequence = GUESTS): Promise<void> {
    await this.send({ flags: SYN, sequence, acknowledgment: 0 });
  }

  /** An established connection; nothing of it is left in `sent`. */
  async open(): Promise<TcpConnection> {
    await this.syn();
    const connection = this.requests.shift()!.accept();
    await this.send({});
    this.sent.length = 0;
    return connection;
  }

  /** What was sent since the last call: flags, numbers relative to the first ones, length of payload. */
  taken(): { flags: number; sequence: number; acknowledgment: number; length: number }[] {
    const segments = this.sent.splice(0);
    return segments.map(({ flags, sequence, acknowledgment, payload }) => ({
      flags,
      sequence: sequence - OURS,
      acknowledgment: acknowledgment === 0 ? 0 : acknowledgment - GUESTS,
      length: payload.length,
    }));
  }
}
