/** sync.json: a byte stream into a receiver that hunts, and the frames it accepts. */

import { control, credit, data, encode, type Frame, frameJson, header, MAGIC, pattern } from "./bytes.ts";

const NONCE = Buffer.from("00112233445566778899aabbccddeeff", "hex");
const OLD_NONCE = Buffer.from("f0e0d0c0b0a090807060504030201000", "hex");

const hostHello = control(0, { op: "hello", version: 1, host: "microsandbox 0.1.0" });
const guestHello = control(0, {
  op: "hello",
  version: 1,
  agent: "0.1.0",
  capabilities: [],
  phase: "ready",
  boot: "6f1c9bd2",
  processes: [],
});

const sync = Buffer.concat([MAGIC, NONCE]);
const oldSync = Buffer.concat([MAGIC, OLD_NONCE]);

export function syncVectors(): unknown[] {
  return [...guestVectors(), ...hostVectors()];
}

/** The guest starts synchronized and hunts on an error; `nonce` is the one it echoes in the end. */
function guestVectors(): unknown[] {
  const vectors: unknown[] = [];
  const add = (name: string, bytes: Buffer[], frames: Frame[], nonce?: Buffer) => {
    vectors.push({
      name: `guest: ${name}`,
      role: "guest",
      ...(nonce ? { nonce: nonce.toString("hex") } : {}),
      hex: Buffer.concat(bytes).toString("hex"),
      frames: frames.map(frameJson),
    });
  };
  const ping = control(0, { op: "ping", id: 1 });
  const input = data(5, 0, pattern(100));
  const hello = encode(hostHello);
  const whole = encode(input);

  add(
    "the first hello, between frames and without filler",
    [sync, hello, encode(ping)],
    [hostHello, ping],
    NONCE,
  );
  add("a later hello between frames", [encode(ping), sync, hello], [ping, hostHello], NONCE);
  add("no sync at all", [encode(ping), Buffer.alloc(12), hello, encode(ping)], [ping]);
  add("filler between frames", [encode(ping), Buffer.alloc(113), sync, hello], [ping, hostHello], NONCE);

  // The filler completes and spoils a frame that was cut anywhere. A vector's filler is as long as its frame needs.
  for (const kept of [1, 4, 8, 10, 11, 12, 13, 60, 111, 112]) {
    add(
      `a frame cut after byte ${kept} of ${whole.length}, filler`,
      [encode(ping), whole.subarray(0, kept), Buffer.alloc(whole.length), sync, hello, encode(ping)],
      [ping, hostHello, ping],
      NONCE,
    );
  }
  // Channel 0x4c52 of an empty control frame gives a check of 0x0000: zeros complete the header to a valid one.
  const zeroCheck = encode({ channel: 0x4c52, type: 1, stream: 0, payload: Buffer.alloc(1, 0xf6) });
  add(
    "a frame cut within a check of zero, filler",
    [zeroCheck.subarray(0, 10), Buffer.alloc(14), sync, hello],
    [hostHello],
    NONCE,
  );
  add(
    "a sync cut within MAGIC, filler",
    [MAGIC.subarray(0, 9), Buffer.alloc(20), sync, hello],
    [hostHello],
    NONCE,
  );
  add(
    "a sync cut within the nonce, filler",
    [oldSync.subarray(0, 21), Buffer.alloc(30), sync, hello],
    [hostHello],
    NONCE,
  );
  add("a sync cut behind the nonce, no filler", [oldSync, sync, hello], [hostHello], NONCE);
  add(
    "a hello cut in its middle, filler",
    [oldSync, hello.subarray(0, 20), Buffer.alloc(hello.length), sync, hello],
    [hostHello],
    NONCE,
  );
  add("two whole hellos: the last one counts", [oldSync, hello, sync, hello], [hostHello, hostHello], NONCE);
  add(
    "another message than hello first: hunt again",
    [oldSync, encode(ping), hello, sync, hello],
    [hostHello],
    NONCE,
  );
  add("data first: hunt again", [oldSync, whole, sync, hello], [hostHello], NONCE);
  add(
    "a hello on another channel first: hunt again",
    [oldSync, encode({ ...hostHello, channel: 1 }), sync, hello],
    [hostHello],
    NONCE,
  );
  add("a bad header, and MAGIC starts within it", [Buffer.alloc(5, 0xee), sync, hello], [hostHello], NONCE);
  add("a bad trailer, and MAGIC starts with it", [whole.subarray(0, -1), sync, hello], [hostHello], NONCE);
  add("half of MAGIC, then all of it", [MAGIC.subarray(0, 12), sync, hello], [hostHello], NONCE);
  add(
    "MAGIC but for its last byte, then all of it",
    [MAGIC.subarray(0, 15), sync, hello],
    [hostHello],
    NONCE,
  );
  add("a zero before MAGIC", [Buffer.alloc(1), sync, hello], [hostHello], NONCE);
  add(
    "MAGIC inside a data frame's payload is payload",
    [encode(ping), encode(data(5, 0, Buffer.concat([sync, hello]))), encode(ping)],
    [ping, data(5, 0, Buffer.concat([sync, hello])), ping],
  );
  add("a nonce that is MAGIC itself", [MAGIC, MAGIC, hello], [hostHello], MAGIC);
  add("a nonce of zeros", [MAGIC, Buffer.alloc(16), hello], [hostHello], Buffer.alloc(16));
  add(
    "credit and data after the hello",
    [sync, hello, encode(credit(5, 1, 10, 1_048_586)), whole],
    [hostHello, credit(5, 1, 10, 1_048_586), input],
    NONCE,
  );
  add(
    "a violation after the hello, and the next host",
    [oldSync, hello, encode(ping), header(262_145, 1, 2, 0), encode(ping), sync, hello],
    [hostHello, ping, hostHello],
    NONCE,
  );
  return vectors;
}

/** The host hunts for MAGIC and its nonce, then reads frames and stops at the first error. */
function hostVectors(): unknown[] {
  const vectors: unknown[] = [];
  const add = (
    name: string,
    bytes: Buffer[],
    frames: Frame[],
    error?: "header" | "trailer" | "truncated",
    nonce = NONCE,
  ) => {
    vectors.push({
      name: `host: ${name}`,
      role: "host",
      nonce: nonce.toString("hex"),
      hex: Buffer.concat(bytes).toString("hex"),
      frames: frames.map(frameJson),
      ...(error ? { error } : {}),
    });
  };
  const output = data(5, 1, pattern(100));
  const hello = encode(guestHello);
  const whole = encode(output);

  add("nothing before the sync sequence", [sync, hello], [guestHello]);
  add(
    "frames behind the hello",
    [sync, hello, whole, encode(data(5, 1, ""))],
    [guestHello, output, data(5, 1, "")],
  );
  add("no sync sequence", [hello, whole], []);
  add("a sync sequence cut short", [sync.subarray(0, 31)], []);
  add("stale whole frames", [whole, whole, sync, hello], [guestHello]);
  for (const kept of [1, 4, 11, 12, 13, 60, 112]) {
    add(`a stale frame cut after byte ${kept}`, [whole, whole.subarray(0, kept), sync, hello], [guestHello]);
    add(`the stale end of a frame from byte ${kept}`, [whole.subarray(kept), sync, hello], [guestHello]);
  }
  add("a stale answer to an earlier host", [oldSync, hello, whole, sync, hello], [guestHello]);
  add("a stale sync cut within MAGIC", [MAGIC.subarray(0, 11), sync, hello], [guestHello]);
  add("a stale sync cut within its nonce", [oldSync.subarray(0, 25), sync, hello], [guestHello]);
  add("stale MAGIC right before the sync sequence", [MAGIC, sync, hello], [guestHello]);
  add("stale MAGIC and half of the nonce", [MAGIC, NONCE.subarray(0, 8), sync, hello], [guestHello]);
  add(
    "stale data that contains MAGIC with another nonce",
    [encode(data(5, 1, oldSync)), sync, hello],
    [guestHello],
  );
  add("zeros before the sync sequence", [Buffer.alloc(40), sync, hello], [guestHello]);
  add(
    "MAGIC in a payload behind the hello is payload",
    [sync, hello, encode(data(5, 1, Buffer.concat([sync, hello]))), whole],
    [guestHello, data(5, 1, Buffer.concat([sync, hello])), output],
  );
  add("a nonce that is MAGIC itself", [MAGIC, MAGIC, hello], [guestHello], undefined, MAGIC);
  add(
    "a nonce that is MAGIC itself, behind a stale MAGIC of another host",
    [MAGIC, NONCE, MAGIC, MAGIC, hello],
    [guestHello],
    undefined,
    MAGIC,
  );
  add(
    "a second sync sequence: the host does not hunt twice",
    [sync, hello, sync, hello],
    [guestHello],
    "header",
  );
  add(
    "a bad trailer behind the hello",
    [sync, hello, whole.subarray(0, -1), Buffer.of(0)],
    [guestHello],
    "trailer",
  );
  add("the end within a frame", [sync, hello, whole.subarray(0, 50)], [guestHello], "truncated");
  add("a bad header right behind the sync sequence", [sync, Buffer.alloc(12), hello], [], "header");
  return vectors;
}
