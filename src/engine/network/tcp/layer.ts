/**
 * Ends a guest's TCP connections, whatever addresses they are meant for, and offers each as a stream.
 *
 * The guest sends a SYN: nothing is answered, the SYN is given out as a request. Whoever decides dials outward and then accepts
 * (SYN-ACK), resets or drops. Towards published ports `connect()` begins a connection in the name of the client.
 *
 * The link is a queue on this machine that neither loses nor reorders while it is asked to wait when full; what is
 * left out here for that reason is named where it would have been (`receiver.ts`, `sender.ts`). A segment of a
 * connection that is not known is answered by a RST, so what a daemon that is gone has left ends at once.
 *
 * Bounds: connections, unanswered requests and bytes (`limits.ts`). A segment of the guest makes at most one answer plus what its
 * window allows. Nothing of what it sends throws.
 */
import { randomInt } from "node:crypto";
import type { IpAddress } from "../../../contract/ip-address.ts";
import type { FlowAddress } from "../flow.ts";
import {
  ACK,
  buildTcpHeader,
  FIN,
  parseTcp,
  RST,
  SYN,
  type TcpOptions,
  type TcpSegment,
  tcpChecksumHolds,
} from "../packet/tcp.ts";
import { type Clock, systemClock } from "./clock.ts";
import { TcpConnection } from "./connection.ts";
import { Endpoint } from "./endpoint.ts";
import { FlowTable } from "./flow-table.ts";
import { GuestPresence } from "./guest-presence.ts";
import { Budget, DEFAULT_LIMITS, type TcpLimits } from "./limits.ts";
import { PendingRequests } from "./pending-requests.ts";
import { PendingRequest, type RequestKeeper, type TcpRequest } from "./request.ts";
import { plus } from "./sequence.ts";
import { TcpError } from "./tcp-error.ts";
import { TouchedEndpoints } from "./touched-endpoints.ts";
import type { Parties, Reply, Wire } from "./wire.ts";

const NOTHING = new Uint8Array(0);
const IP_AND_TCP_HEADER = { 4: 40, 6: 60 };

export interface TcpLayerOptions {
  /** Bytes of an IP packet that fit into a frame of the link. At least 576, or 1280 if there is IPv6. */
  mtu: number;
  /**
   * Takes a segment for an IP packet, in any case. False: the link is full, nothing more (but a few answers) comes before
   * `resume()`. Neither part may be changed after, and both may be kept.
   */
  send(from: IpAddress, to: IpAddress, header: Uint8Array, payload: Uint8Array): boolean;
  /** The guest asks for a connection. */
  request(request: TcpRequest): void;
  /** `DEFAULT_LIMITS` for what is not given. */
  limits?: Partial<TcpLimits>;
  clock?: Clock;
  /** The sequence number to begin with: any of 32 bits, and not to be guessed (RFC 6528). */
  initialSequence?(): number;
}

export class TcpLayer {
  readonly #options: TcpLayerOptions;
  readonly #limits: TcpLimits;
  readonly #clock: Clock;
  readonly #budget: Budget;
  readonly #endpoints = new FlowTable<Endpoint>();
  readonly #requests: PendingRequests;
  readonly #touched = new TouchedEndpoints();
  readonly #presence: GuestPresence;
  readonly #wire: Wire;
  readonly #keeper: RequestKeeper;
  #closed = false;

  constructor(options: TcpLayerOptions) {
    this.#options = options;
    this.#limits = { ...DEFAULT_LIMITS, ...options.limits };
    this.#clock = options.clock ?? systemClock;
    this.#budget = new Budget(this.#limits.bufferBytes);
    this.#requests = new PendingRequests(this.#limits.requests, this.#limits.requestMs, this.#clock);
    this.#presence = new GuestPresence(this.#limits.absentMs, this.#clock.now());
    this.#wire = this.#makeWire();
    this.#keeper = {
      accept: (request) => this.#accept(request),
      reset: (request) => {
        this.#requests.remove(request);
        this.#refuse(request.parties, request.syn);
      },
      drop: (request) => this.#requests.drop(request),
    };
  }

  /** So many at a time from now on; what is open stays. */
  limitConnections(connections: number): void {
    this.#limits.connections = connections;
  }

  /** Connections, including those in TIME-WAIT, or those over and not read to their end. */
  get connections(): number {
    return Math.max(this.#endpoints.size, this.#budget.connections);
  }

  /** Requests without an answer. */
  get requests(): number {
    return this.#requests.size;
  }

  /** What is held of `limits.bufferBytes`. */
  get bufferedBytes(): number {
    return this.#budget.bytes;
  }

  /** A segment of the guest, as it came: all of it or none. It may be kept, so it must not be changed after. */
  receive(source: IpAddress, destination: IpAddress, bytes: Uint8Array): void {
    const segment = parseTcp(bytes);
    if (segment === undefined || this.#closed || !tcpChecksumHolds(source, destination, bytes)) return;
    this.#presence.heard(this.#clock.now());
    const { sourcePort, destinationPort } = segment;
    const endpoint = this.#endpoints.get(source, sourcePort, destination, destinationPort);
    if (endpoint !== undefined && !endpoint.yieldsTo(segment)) {
      endpoint.receive(segment);
      return;
    }
    endpoint?.expire();
    const pending = this.#requests.get(source, sourcePort, destination, destinationPort);
    if (pending !== undefined) {
      this.#receiveForRequest(pending, segment);
      return;
    }
    const parties = {
      guest: source,
      guestPort: sourcePort,
      remote: destination,
      remotePort: destinationPort,
    };
    if ((segment.flags & (SYN | ACK | RST | FIN)) === SYN) this.#ask(parties, segment);
    else this.#refuse(parties, segment);
  }

  /** The link has room again. */
  resume(): void {
    this.#touched.resume();
  }

  /**
   * Opens a connection to the guest: `flow.destination` is the guest's. Rejects with a `TcpError` (`ECONNREFUSED`, `ETIMEDOUT` after
   * `limits.handshakeMs`, `EAGAIN` at the limit on connections, `EADDRINUSE`) or with the signal's reason.
   */
  async connect(flow: FlowAddress, signal?: AbortSignal): Promise<TcpConnection> {
    signal?.throwIfAborted();
    const { destination: guest, destinationPort: guestPort, source: remote, sourcePort: remotePort } = flow;
    const known =
      this.#endpoints.get(guest, guestPort, remote, remotePort) ??
      this.#requests.get(guest, guestPort, remote, remotePort);
    if (known !== undefined) throw new TcpError("EADDRINUSE", flow);
    if (this.#closed || !this.#hasRoom()) throw new TcpError(this.#closed ? "ECONNABORTED" : "EAGAIN", flow);
    const endpoint = this.#newEndpoint({ guest, guestPort, remote, remotePort });
    const { promise, resolve, reject } = Promise.withResolvers<TcpConnection>();
    const connection: TcpConnection = new TcpConnection(flow, endpoint, () => resolve(connection));
    const abort = () => connection.destroy(signal!.reason);
    connection.once("error", reject);
    signal?.addEventListener("abort", abort, { once: true });
    endpoint.start();
    try {
      return await promise;
    } finally {
      signal?.removeEventListener("abort", abort);
      connection.off("error", reject);
    }
  }

  /** Ends one flow at once, whoever began it, with a RST: policy no longer allows it, or an ICMP error came for it. */
  abort(flow: FlowAddress): void {
    const { source, sourcePort, destination, destinationPort } = flow;
    const endpoint =
      this.#endpoints.get(source, sourcePort, destination, destinationPort) ??
      this.#endpoints.get(destination, destinationPort, source, sourcePort);
    endpoint?.abort("ECONNABORTED");
    const request = this.#requests.get(source, sourcePort, destination, destinationPort);
    if (request === undefined) return;
    this.#requests.abort(request, "ECONNABORTED");
    if (!request.dropped) this.#refuse(request.parties, request.syn);
  }

  /** Resets all connections and takes no more. */
  close(): void {
    this.#closed = true;
    this.#requests.abortAll();
    for (const endpoint of this.#endpoints.all()) {
      endpoint.abort("ECONNABORTED");
      endpoint.expire();
    }
  }

  #makeWire(): Wire {
    const touched = this.#touched;
    return {
      clock: this.#clock,
      limits: this.#limits,
      budget: this.#budget,
      presence: this.#presence,
      get full() {
        return touched.held;
      },
      segmentSize: (to) => this.#options.mtu - IP_AND_TCP_HEADER[to.version],
      send: (parties, reply, payload, options) => this.#send(parties, reply, payload, options),
      touch: (endpoint) => touched.add(endpoint),
      touchLater: (endpoint) => touched.addLater(endpoint),
      release: (endpoint) => this.#endpoints.delete(endpoint),
    };
  }

  #ask(parties: Parties, syn: TcpSegment): void {
    if (!this.#hasRoom()) {
      this.#refuse(parties, syn);
      return;
    }
    const request = new PendingRequest(parties, syn, this.#keeper);
    if (this.#requests.add(request)) this.#options.request(request);
  }

  /** A SYN is awaited to be repeated; one with another number is a new attempt, for which the old one is over. */
  #receiveForRequest(request: PendingRequest, segment: TcpSegment): void {
    const { flags, sequence } = segment;
    const again = sequence === request.syn.sequence;
    if ((flags & RST) !== 0) {
      if (again || sequence === plus(request.syn.sequence, 1)) this.#requests.abort(request, "ECONNRESET");
    } else if ((flags & (SYN | ACK)) === SYN && !again) {
      this.#requests.abort(request, "ECONNRESET");
      this.#ask(request.parties, segment);
    }
  }

  #accept(request: PendingRequest): TcpConnection {
    const { parties, syn, source, sourcePort, destination, destinationPort } = request;
    const flow = { source, sourcePort, destination, destinationPort };
    if (request.settled || this.#closed) {
      const over = new Endpoint(this.#wire, parties, 0, syn); // In no table, so nothing is sent.
      over.state = "closed";
      return new TcpConnection(flow, over).destroy();
    }
    this.#requests.remove(request);
    const endpoint = this.#newEndpoint(parties, syn);
    const connection = new TcpConnection(flow, endpoint);
    endpoint.start();
    return connection;
  }

  #newEndpoint(parties: Parties, syn?: TcpSegment): Endpoint {
    const initial = (this.#options.initialSequence ?? (() => randomInt(2 ** 32)))();
    const endpoint = new Endpoint(this.#wire, parties, initial, syn);
    this.#endpoints.add(endpoint);
    return endpoint;
  }

  /** Requests count, as each may become a connection; a TIME-WAIT is given up when there is no other room. */
  #hasRoom(): boolean {
    const { connections } = this.#limits;
    if (this.connections + this.#requests.size < connections) return true;
    this.#endpoints
      .all()
      .find((endpoint) => endpoint.state === "timeWait")
      ?.expire();
    return this.connections + this.#requests.size < connections;
  }

  /** RFC 9293 section 3.10.7.1: what belongs to no connection. While the link is full the guest is left to ask again. */
  #refuse(parties: Parties, segment: TcpSegment): void {
    const { flags, sequence, acknowledgment, payload } = segment;
    if ((flags & RST) !== 0 || this.#touched.held) return;
    if ((flags & ACK) !== 0) {
      this.#send(parties, { sequence: acknowledgment, acknowledgment: 0, flags: RST, window: 0 }, NOTHING);
      return;
    }
    const length = payload.length + ((flags & SYN) !== 0 ? 1 : 0) + ((flags & FIN) !== 0 ? 1 : 0);
    const next = plus(sequence, length);
    this.#send(parties, { sequence: 0, acknowledgment: next, flags: RST | ACK, window: 0 }, NOTHING);
  }

  #send(parties: Parties, reply: Reply, payload: Uint8Array, options?: TcpOptions): void {
    const { guest, guestPort, remote, remotePort } = parties;
    const fields = { sourcePort: remotePort, destinationPort: guestPort, ...reply };
    const header = buildTcpHeader(remote, guest, fields, payload, options);
    if (!this.#options.send(remote, guest, header, payload)) this.#touched.hold();
  }
}
