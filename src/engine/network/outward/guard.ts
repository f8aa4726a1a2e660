/**
 * What looks into the bytes that a guest sends before they go out. Guards hold back what they have not understood yet, within
 * bounds, and never change a byte.
 */
export interface Guard {
  /** Not to be called again after a refusal. */
  push(chunk: Buffer): GuardResult;
  /** Bytes of the far side, before the guest gets them. What they set free is passed. */
  answered?(chunk: Buffer): GuardResult | undefined;
}

export interface GuardResult {
  /** Bytes that may go out now, in order. */
  pass: Buffer[];
  /** The connection ends here. */
  refusal?: Refusal;
}

export interface Refusal {
  /** A sentence for the guest and the audit log. */
  reason: string;
  /** What the guest speaks, and so can be told in. */
  speaks: "tls" | "http" | "unknown";
}

/** Says why a name that was found may not be; undefined: it may. `name` is canonical; absent where there was none. */
export type NameCheck = (name: string | undefined) => string | undefined;
