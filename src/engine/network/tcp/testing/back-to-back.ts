import { IpAddress } from "../../../../contract/ip-address.ts";
import type { FlowAddress } from "../../flow.ts";
import type { TcpConnection } from "../connection.ts";
import { TcpLayer, type TcpLayerOptions } from "../layer.ts";
import type { TcpRequest } from "../request.ts";
import { type Fate, LossyLink } from "./lossy-link.ts";
import { ManualClock } from "./manual-clock.ts";

export const FLOW: FlowAddress = {
  source: IpAddress.parse("10.209.0.2")!,
  sourcePort: 40000,
  destination: IpAddress.parse("192.0.2.7")!,
  destinationPort: 80,
};

/** Two layers, each the guest of the other, over two links. `near` begins connections, `far` is asked. */
export class BackToBack {
  readonly clock = new ManualClock();
  readonly requests: TcpRequest[] = [];
  readonly near: TcpLayer;
  readonly far: TcpLayer;
  readonly there: LossyLink;
  readonly back: LossyLink;

  constructor(fates: { there?: Fate[]; back?: Fate[] } = {}, options: Partial<TcpLayerOptions> = {}) {
    const { clock } = this;
    this.there = new LossyLink(clock, fates.there);
    this.back = new LossyLink(clock, fates.back);
    const base = { mtu: 1500, clock, ...options };
    const request = (asked: TcpRequest) => void this.requests.push(asked);
    this.near = new TcpLayer({ ...base, send: this.there.send, request });
    this.far = new TcpLayer({ ...base, send: this.back.send, request });
    this.there.deliver = (from, to, segment) => this.far.receive(from, to, segment);
    this.back.deliver = (from, to, segment) => this.near.receive(from, to, segment);
    this.there.resume = () => this.near.resume();
    this.back.resume = () => this.far.resume();
  }

  /** One open connection, both ends of it. */
  async open(flow = FLOW): Promise<[TcpConnection, TcpConnection]> {
    let near: TcpConnection | undefined;
    this.near.connect(flow).then((connection) => {
      near = connection;
    });
    if (!(await this.clock.passUntil(() => this.requests.length > 0, 60_000))) throw new Error("no request");
    const far = this.requests.shift()!.accept();
    if (!(await this.clock.passUntil(() => near !== undefined, 60_000))) throw new Error("not opened");
    return [near!, far];
  }

  /** What has leaked once everything that may still come has come. */
  async leftOver(): Promise<object> {
    await this.clock.pass(1_000_000);
    const { near, far, clock } = this;
    return {
      connections: near.connections + far.connections,
      requests: near.requests + far.requests,
      bytes: near.bufferedBytes + far.bufferedBytes,
      timers: clock.waiting,
    };
  }
}

export const NOTHING_LEFT = { connections: 0, requests: 0, bytes: 0, timers: 0 };
