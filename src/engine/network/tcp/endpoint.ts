/**
 * Our end of one connection: what the segments of the guest do to it, and what it sends. `states.ts` has the states, `Sender` and
 * `Receiver` the two halves; this is what joins them.
 *
 * What comes in is only taken note of. What goes out does so in `flush()`, once for all frames that came together: bulk
 * is acknowledged once per read of the link, and a window opens after the reader has had its turn. Only what the
 * guest counts (acknowledgments of what is out of order) is answered one by one, so never more than it sent.
 *
 * A RST counts if its sequence number is exactly the next one; any other, and a SYN within a connection, is answered by what we
 * know (RFC 5961), and a guest that meant it resets again with the right number.
 */
import { ACK, FIN, parseTcpOptions, RST, SYN, type TcpSegment } from "../packet/tcp.ts";
import { type Deadline, Deadlines } from "./deadlines.ts";
import { type EndpointUser, NOBODY } from "./endpoint-user.ts";
import { OUR_WINDOW_SCALE, Receiver } from "./receiver.ts";
import { type Outgoing, Sender } from "./sender.ts";
import { distance, plus } from "./sequence.ts";
import { type Action, type Event, type State, sendsData, TRANSITIONS, takesData } from "./states.ts";
import type { TcpErrorCode } from "./tcp-error.ts";
import { Transmitter } from "./transmitter.ts";
import type { Parties, Wire } from "./wire.ts";

/** RFC 9293 section 3.7.1, for a guest that does not say: what fits through every IPv4 and IPv6 network. */
const DEFAULT_SEGMENT = { 4: 536, 6: 1220 };
/** A guest that asks for less would have us send a header for every few bytes. */
const SMALLEST_SEGMENT = 64;
/** Payload that one connection sends before the next has its turn. */
const TURN_BYTES = 128 * 1024;
/** Between two answers to segments that carry nothing and fit nowhere (RFC 5961 section 7). */
const CHALLENGE_MS = 100;

export class Endpoint {
  readonly parties: Parties;
  readonly sender: Sender;
  state: State;
  /** Set by whoever made it, before anything else is called. */
  user!: EndpointUser;
  readonly #wire: Wire;
  readonly #deadlines: Deadlines;
  readonly #transmitter: Transmitter;
  /** Undefined until the guest's SYN has come. */
  #receiver: Receiver | undefined;
  #guestInitial = 0;
  #guestScale: number | undefined;
  #acknowledgeNow = false;
  #challengedAt = -Infinity;
  #heardAt: number;
  /** Since when an answer is due. */
  #askedAt: number;

  /** With the guest's SYN: accepts it. Without: connects to the guest. */
  constructor(wire: Wire, parties: Parties, initial: number, syn?: TcpSegment) {
    this.#wire = wire;
    this.parties = parties;
    this.sender = new Sender(initial, wire.segmentSize(parties.guest), wire.budget);
    this.#transmitter = new Transmitter(wire, parties, initial, this.sender, () => {
      this.#acknowledgeNow = false;
      this.#deadlines.clear("acknowledge");
    });
    this.#deadlines = new Deadlines(wire.clock, (kind, now) => this.#due(kind, now));
    this.#heardAt = this.#askedAt = wire.clock.now();
    wire.budget.connections++;
    this.state = syn === undefined ? "synSent" : "synReceived";
    if (syn !== undefined) this.#meet(syn);
  }

  /** Sends the SYN, alone or with the acknowledgment of the guest's. */
  start(): void {
    this.#transmitter.syn();
    this.#deadlines.set("retransmit", this.#askedAt + this.sender.roundTrip.waitMs, this.#askedAt);
  }

  /** All that may be read has been put in here. */
  get received(): Receiver | undefined {
    return this.#receiver;
  }

  /** Whether more may be written. A piece larger than the room is taken as a whole. */
  get hasRoom(): boolean {
    const { length } = this.sender.queue;
    if (length === 0) return true;
    return length < this.#wire.budget.share && !this.#wire.budget.written.exhausted;
  }

  write(bytes: Uint8Array): void {
    // A short answer is often all there is: then its end goes with it, and the guest has a frame less to take and one less to send.
    const mayBeAll = !this.sender.begun && bytes.length < this.sender.segmentSize;
    this.sender.queue.append(bytes);
    if (mayBeAll) this.#wire.touchLater(this);
    else this.#wire.touch(this);
  }

  /** Sends the FIN after all that was written. */
  end(): void {
    this.sender.queueFin();
    this.#wire.touch(this);
  }

  /** The reader has taken what there was, or a part of it: the window may open. */
  readingGoesOn(): void {
    if (this.#receiver?.worthTelling) this.#wire.touch(this);
  }

  abort(code?: TcpErrorCode): void {
    this.#happen("abort", code);
  }

  /** The user is gone: what it has not read is of no use. Before both ends are over this is an abort. */
  leave(): void {
    this.abort();
    this.#receiver?.clear();
    this.#wire.budget.connections--;
    this.user = NOBODY;
  }

  /** Ends a TIME-WAIT before its time. */
  expire(): void {
    this.#happen("expired");
  }

  /** A SYN for the same parties that can only be of a new connection (RFC 9293 section 3.10.7.4, TIME-WAIT). */
  yieldsTo(segment: TcpSegment): boolean {
    if (this.state !== "timeWait" || (segment.flags & (SYN | ACK | RST)) !== SYN) return false;
    return distance(segment.sequence, this.#receiver!.next) > 0;
  }

  receive(segment: TcpSegment): void {
    const receiver = this.#receiver;
    if (this.state === "synSent") this.#receiveInSynSent(segment);
    else if (receiver === undefined || this.state === "closed") return;
    else if ((segment.flags & RST) !== 0) this.#receiveReset(segment.sequence, receiver);
    else if ((segment.flags & SYN) !== 0) this.#receiveSynAgain(segment);
    else if ((segment.flags & ACK) !== 0) this.#receiveSynchronized(segment, receiver);
  }

  /** Lets the user read, then sends what may be sent. */
  flush(): void {
    this.user.readable();
    if (this.state === "closed") return;
    if (this.#wire.full) {
      this.#wire.touch(this);
      return;
    }
    const now = this.#wire.clock.now();
    if (sendsData(this.state)) this.#sendData(now);
    this.#acknowledgeAsDue(now);
    this.#watch(now);
  }

  #receiveReset(sequence: number, receiver: Receiver): void {
    if (sequence === receiver.next) this.#happen("reset");
    else if (receiver.accepts(sequence, 0)) this.#challenge();
  }

  #receiveSynchronized(segment: TcpSegment, receiver: Receiver): void {
    const length = segment.payload.length + (segment.flags & FIN);
    if (!receiver.accepts(segment.sequence, length)) {
      if (length > 0) this.#transmitter.acknowledgment();
      else this.#challenge();
      return;
    }
    if (this.state === "synReceived" && !this.#open(segment)) return;
    if (!this.sender.covers(segment.acknowledgment)) {
      this.#challenge();
      return;
    }
    this.#heardAt = this.#wire.clock.now();
    this.#receiveAcknowledgment(segment);
    if (length > 0) this.#receiveBytes(segment, receiver);
  }

  #receiveInSynSent(segment: TcpSegment): void {
    const { flags, acknowledgment } = segment;
    const acknowledges = (flags & ACK) !== 0;
    if (acknowledges && acknowledgment !== this.sender.unsent) {
      if ((flags & RST) === 0) this.#transmitter.resetFor(acknowledgment);
      return;
    }
    if ((flags & RST) !== 0) {
      if (acknowledges) this.#happen("reset", "ECONNREFUSED");
      return;
    }
    if ((flags & SYN) === 0) return;
    this.#meet(segment);
    if (acknowledges) {
      this.#opened(segment.window, segment);
      return;
    }
    this.#happen("syn");
    this.#transmitter.syn();
  }

  /** What the guest's SYN tells. Payload in it is left to be sent again. */
  #meet(syn: TcpSegment): void {
    const options = parseTcpOptions(syn.options);
    const { version } = this.parties.guest;
    const asked = options.maximumSegmentSize ?? DEFAULT_SEGMENT[version];
    this.sender.segmentSize = Math.min(this.sender.segmentSize, Math.max(SMALLEST_SEGMENT, asked));
    this.#guestScale = options.windowScale;
    this.#guestInitial = syn.sequence;
    const next = plus(syn.sequence, 1);
    this.#receiver = new Receiver(next, this.#wire.budget, this.#wire.segmentSize(this.parties.guest));
    this.#transmitter.meet(this.#receiver, options.windowScale !== undefined);
  }

  /** In SYN-RECEIVED our SYN must be acknowledged first. */
  #open(segment: TcpSegment): boolean {
    if (segment.acknowledgment !== this.sender.unsent) {
      this.#transmitter.resetFor(segment.acknowledgment);
      return false;
    }
    const synToo = (segment.flags & SYN) !== 0;
    this.#opened(synToo ? segment.window : segment.window << (this.#guestScale ?? 0), segment);
    return true;
  }

  #opened(window: number, { sequence, acknowledgment }: TcpSegment): void {
    this.#heardAt = this.#wire.clock.now();
    this.sender.opened();
    this.sender.startWindow(window, sequence, acknowledgment);
    if (this.#guestScale !== undefined) this.#receiver!.scale = OUR_WINDOW_SCALE;
    this.#deadlines.clear("retransmit");
    this.#deadlines.set("idle", this.#heardAt + this.#wire.limits.keepAliveMs, this.#heardAt);
    this.#happen("opened");
    this.#wire.touch(this);
  }

  /** Its SYN once more, the SYN-ACK of an opening from both ends, or one that does not belong here. */
  #receiveSynAgain(segment: TcpSegment): void {
    if (this.state !== "synReceived" || segment.sequence !== this.#guestInitial) this.#challenge();
    else if ((segment.flags & ACK) === 0) this.#transmitter.syn();
    else this.#open(segment);
  }

  #receiveAcknowledgment({ flags, sequence, acknowledgment, window, payload }: TcpSegment): void {
    const { sender } = this;
    const now = this.#heardAt;
    const known = acknowledgment === sender.unacknowledged;
    const { progress, fin, resend } = sender.acknowledge(acknowledgment, now);
    const moved = sender.setWindow(window << (this.#guestScale ?? 0), sequence, acknowledgment);
    if (moved && !progress) sender.roundTrip.progress();
    if (progress) {
      this.#askedAt = now;
      this.#deadlines.clear("retransmit");
      this.user.acknowledged();
      if (this.state === "closed") return;
    }
    const repeats = known && !moved && payload.length === 0 && (flags & FIN) === 0;
    if (resend || (repeats && sender.duplicate())) this.#sendOutgoing(sender.resend());
    if (fin) this.#happen("finAcked");
    if (progress || moved) this.#wire.touch(this);
  }

  #receiveBytes({ sequence, payload, flags }: TcpSegment, receiver: Receiver): void {
    const fin = (flags & FIN) !== 0;
    if (!takesData(this.state)) {
      // A FIN that came before is one whose acknowledgment was lost.
      if (fin && this.state === "timeWait") this.#happen("fin");
      else this.#transmitter.acknowledgment();
      return;
    }
    const taken = receiver.take(sequence, payload, fin);
    if (taken === "new" || taken === "filled") this.#wire.touch(this);
    if (taken === "new") return;
    if (taken === "fin") this.#happen("fin");
    else this.#transmitter.acknowledgment();
  }

  #happen(event: Event, code?: TcpErrorCode): void {
    const step = TRANSITIONS[this.state][event];
    if (step === undefined) return;
    const from = this.state;
    this.state = step.next;
    for (const action of step.actions) this.#act(action, from, event, code);
  }

  #act(action: Action, from: State, event: Event, code: TcpErrorCode | undefined): void {
    if (action === "ack") {
      this.#acknowledgeNow = true;
      this.#wire.touch(this);
    } else if (action === "tellOpened") this.user.opened();
    else if (action === "tellReadEnded") this.#wire.touch(this);
    else if (action === "tellWriteEnded") this.user.writeEnded();
    else if (action === "linger") this.#linger();
    else if (action === "sendReset") this.#transmitter.reset();
    else this.#release(from, event, code);
  }

  #linger(): void {
    const now = this.#wire.clock.now();
    this.#deadlines.set("idle", now + this.#wire.limits.timeWaitMs, now);
  }

  #release(from: State, event: Event, code: TcpErrorCode | undefined): void {
    this.#deadlines.clearAll();
    this.sender.queue.clear();
    this.#wire.release(this);
    const usual = from === "timeWait" || event === "finAcked";
    const why: TcpErrorCode = event === "timeout" ? "ETIMEDOUT" : "ECONNRESET";
    this.user.closed(usual ? undefined : (code ?? (event === "abort" ? undefined : why)));
  }

  #due(kind: Deadline, now: number): void {
    if (kind === "acknowledge") {
      this.#acknowledgeNow = true;
      this.#wire.touch(this);
    } else if (kind === "retransmit") this.#retransmit(now);
    else if (this.state === "timeWait") this.#happen("expired");
    else this.#keepAlive(now);
  }

  /** A link that is full has told the guest nothing, so it cannot be blamed for silence. */
  #retransmit(now: number): void {
    const { sender } = this;
    const handshake = this.state === "synSent" || this.state === "synReceived";
    const { presence, limits } = this.#wire;
    const since = Math.max(this.#askedAt, this.#heardAt);
    const late = handshake
      ? now - since >= limits.handshakeMs
      : presence.silence(since, now) >= limits.silenceMs;
    if (this.#wire.full) this.#askedAt = now;
    else if (late) {
      this.#happen("timeout");
      return;
    } else if (handshake) {
      sender.roundTrip.backOff();
      this.#transmitter.syn();
    } else {
      sender.rewind();
      const outgoing = sender.take(now, true);
      if (outgoing === undefined) this.#transmitter.probe();
      else this.#sendOutgoing(outgoing);
      this.#wire.touch(this);
    }
    this.#deadlines.set("retransmit", now + sender.roundTrip.waitMs, now);
  }

  #keepAlive(now: number): void {
    const { keepAliveMs, keepAliveIntervalMs, silenceMs } = this.#wire.limits;
    const silent = now - this.#heardAt;
    let next = now + keepAliveIntervalMs;
    if (silent < keepAliveMs) next = this.#heardAt + keepAliveMs;
    else if (this.#wire.presence.silence(this.#heardAt, now) >= keepAliveMs + silenceMs && !this.#wire.full) {
      this.#happen("timeout");
      return;
    } else if (!this.sender.outstanding && !this.#wire.full) this.#transmitter.probe();
    this.#deadlines.set("idle", next, now);
  }

  #sendData(now: number): void {
    for (let sent = 0; sent < TURN_BYTES; ) {
      const outgoing = this.sender.take(now, false);
      if (outgoing === undefined) return;
      this.#sendOutgoing(outgoing);
      if (this.#wire.full) break;
      sent += outgoing.payload.length;
    }
    this.#wire.touch(this);
  }

  #sendOutgoing(outgoing: Outgoing | undefined): void {
    if (outgoing === undefined) return;
    this.#transmitter.data(outgoing);
    if (outgoing.fin) this.#happen("finSent");
  }

  /** Every second full segment, or when the window may open; a small one waits a little for company. */
  #acknowledgeAsDue(now: number): void {
    const receiver = this.#receiver;
    if (receiver === undefined || this.state === "synReceived") return;
    const due = this.#acknowledgeNow || receiver.unacknowledged >= 2 * this.sender.segmentSize;
    if (due || receiver.worthTelling) this.#transmitter.acknowledgment();
    else if (receiver.unacknowledged > 0 && !this.#deadlines.has("acknowledge"))
      this.#deadlines.set("acknowledge", now + this.#wire.limits.delayedAckMs, now);
  }

  /** What was sent is waited for; what may not be sent is asked about. */
  #watch(now: number): void {
    if (!sendsData(this.state)) return;
    if (!this.sender.outstanding && !this.sender.waiting) this.#deadlines.clear("retransmit");
    else if (!this.#deadlines.has("retransmit")) {
      this.#askedAt = now;
      this.#deadlines.set("retransmit", now + this.sender.roundTrip.waitMs, now);
    }
  }

  #challenge(): void {
    const now = this.#wire.clock.now();
    if (now - this.#challengedAt < CHALLENGE_MS) return;
    this.#challengedAt = now;
    this.#transmitter.acknowledgment();
  }
}
