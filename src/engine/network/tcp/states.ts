/**
 * The states of a connection (RFC 9293 section 3.3.2) as a table: what may happen in each, which state is next and what is to be
 * done. What is not in the table changes nothing. LISTEN is missing: a SYN of the guest is a request, which
 * has no state of TCP until it is accepted.
 *
 * Within one segment the acknowledgment is seen to before the FIN, as in section 3.10.7.4, so a FIN that also
 * acknowledges ours takes FIN-WAIT-1 through FIN-WAIT-2.
 */
export type State =
  | "synSent"
  | "synReceived"
  | "established"
  | "finWait1"
  | "finWait2"
  | "closing"
  | "timeWait"
  | "closeWait"
  | "lastAck"
  | "closed";

export type Event =
  /** Both ends began at once: a SYN without an acknowledgment came for ours. */
  | "syn"
  /** Our SYN is acknowledged. */
  | "opened"
  /** All up to the guest's FIN has come. */
  | "fin"
  | "finSent"
  | "finAcked"
  /** A valid RST came. */
  | "reset"
  /** This side gives the connection up. */
  | "abort"
  /** The guest answers nothing any more. */
  | "timeout"
  /** TIME-WAIT is over. */
  | "expired";

export type Action =
  /** Acknowledge without delay. */
  | "ack"
  | "tellOpened"
  | "tellReadEnded"
  | "tellWriteEnded"
  /** Start TIME-WAIT, or start it anew. */
  | "linger"
  | "sendReset"
  /** Forget the connection. */
  | "release";

interface Step {
  next: State;
  actions: Action[];
}

const ENDS: Partial<Record<Event, Step>> = {
  reset: { next: "closed", actions: ["release"] },
  abort: { next: "closed", actions: ["sendReset", "release"] },
  timeout: { next: "closed", actions: ["sendReset", "release"] },
};

export const TRANSITIONS: Record<State, Partial<Record<Event, Step>>> = {
  synSent: {
    ...ENDS,
    syn: { next: "synReceived", actions: [] },
    opened: { next: "established", actions: ["ack", "tellOpened"] },
  },
  synReceived: { ...ENDS, opened: { next: "established", actions: ["tellOpened"] } },
  established: {
    ...ENDS,
    fin: { next: "closeWait", actions: ["ack", "tellReadEnded"] },
    finSent: { next: "finWait1", actions: [] },
  },
  finWait1: {
    ...ENDS,
    fin: { next: "closing", actions: ["ack", "tellReadEnded"] },
    finAcked: { next: "finWait2", actions: ["tellWriteEnded"] },
  },
  finWait2: { ...ENDS, fin: { next: "timeWait", actions: ["ack", "tellReadEnded", "linger"] } },
  closing: { ...ENDS, finAcked: { next: "timeWait", actions: ["tellWriteEnded", "linger"] } },
  closeWait: { ...ENDS, finSent: { next: "lastAck", actions: [] } },
  lastAck: { ...ENDS, finAcked: { next: "closed", actions: ["tellWriteEnded", "release"] } },
  // Nobody waits for anything any more but the guest, for an acknowledgment that may have been lost.
  timeWait: {
    fin: { next: "timeWait", actions: ["ack", "linger"] },
    reset: { next: "closed", actions: ["release"] },
    timeout: { next: "closed", actions: ["release"] },
    expired: { next: "closed", actions: ["release"] },
  },
  closed: {},
};

/** Whether bytes of the guest are taken. */
export function takesData(state: State): boolean {
  return state === "established" || state === "finWait1" || state === "finWait2";
}

/** Whether bytes and the FIN may be sent, or sent again. */
export function sendsData(state: State): boolean {
  return (
    state === "established" ||
    state === "closeWait" ||
    state === "finWait1" ||
    state === "closing" ||
    state === "lastAck"
  );
}
