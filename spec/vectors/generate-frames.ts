/** frames.json: a byte stream from a synchronized state and what a receiver reads from it. */

import {
  CONTROL,
  control,
  CREDIT,
  credit,
  DATA,
  data,
  encode,
  type Frame,
  frameJson,
  header,
  MAGIC,
  pattern,
} from "./bytes.ts";

const MAX_CHANNEL = 2 ** 31 - 1;

export function frameVectors(): unknown[] {
  const vectors: unknown[] = [];
  const add = (
    name: string,
    bytes: Buffer[],
    frames: Frame[],
    error?: "header" | "trailer" | "truncated",
  ) => {
    vectors.push({
      name,
      hex: Buffer.concat(bytes).toString("hex"),
      frames: frames.map(frameJson),
      ...(error ? { error } : {}),
    });
  };
  const good = (name: string, ...frames: Frame[]) => add(name, frames.map(encode), frames);

  const ping = control(0, { op: "ping", id: 1 });
  const hello = data(1, 1, "hello\n");

  add("an empty stream", [], []);
  good("control on channel 0", ping);
  good("control on a process's channel", control(7, { op: "signal", signal: 15, group: true }));
  good("control without payload: a frame, if no message", {
    channel: 0,
    type: CONTROL,
    stream: 0,
    payload: Buffer.alloc(0),
  });
  good("data on stdin", data(1, 0, "ls\n"));
  good("data on stdout", hello);
  good("data on stderr", data(1, 2, "oops\n"));
  good("data of length 0: the end of a stream", data(1, 1, ""));
  good("data on channel 0: a frame, if no use", data(0, 1, "x"));
  good("credit on stdin", credit(3, 0, 0, 65_536));
  good("credit on stdout", credit(3, 1, 1_048_576, 2_097_152));
  good("credit on stderr, the largest offsets", credit(3, 2, 2n ** 64n - 1n, 2n ** 64n - 1n));
  good("the highest channel", data(MAX_CHANNEL, 1, "last"));
  good("a payload of every byte value", data(2, 1, Buffer.from(Array.from({ length: 256 }, (_, i) => i))));
  good("a payload of trailers", data(2, 1, Buffer.alloc(64, 0xa5)));
  good("a payload of zeros", data(2, 1, Buffer.alloc(64)));
  good("a payload that contains a whole frame", data(2, 1, encode(hello)));
  good("a payload that contains MAGIC", data(2, 1, MAGIC));
  good("a length that needs three bytes", data(2, 1, pattern(4_660)));
  good("a check of zero", {
    channel: 0x0000_4c52,
    type: CONTROL,
    stream: 0,
    payload: Buffer.from("f6", "hex"),
  });
  good("several frames in turn", ping, hello, credit(1, 1, 6, 1_048_582), data(1, 2, ""), data(1, 1, ""));

  // What stops a receiver, and the frames before it count.
  const bad = (name: string, bytes: Buffer) => {
    add(name, [bytes], [], "header");
    add(`${name}, behind a frame`, [encode(hello), bytes, encode(hello)], [hello], "header");
  };
  bad("twelve zeros", Buffer.alloc(12));
  bad("twelve bytes of 0xff", Buffer.alloc(12, 0xff));
  bad("MAGIC", MAGIC.subarray(0, 12));
  bad("a length above the bound", header(262_145, 1, DATA, 1));
  bad("the largest length", header(2 ** 32 - 1, 1, DATA, 1));
  bad("channel 2^31", header(1, 2 ** 31, DATA, 1));
  bad("channel 2^32-1", header(1, 2 ** 32 - 1, DATA, 1));
  bad("type 0", header(1, 1, 0, 0));
  bad("type 4", header(1, 1, 4, 0));
  bad("type 255", header(1, 1, 255, 0));
  bad("control on stream 1", header(1, 1, CONTROL, 1));
  bad("data on stream 3", header(1, 1, DATA, 3));
  bad("data on stream 255", header(1, 1, DATA, 255));
  bad("credit on stream 3", header(16, 1, CREDIT, 3));
  bad("a credit of 0 bytes", header(0, 1, CREDIT, 1));
  bad("a credit of 15 bytes", header(15, 1, CREDIT, 1));
  bad("a credit of 17 bytes", header(17, 1, CREDIT, 1));
  for (let bit = 0; bit < 96; bit += 7) {
    const flipped = Buffer.from(encode(hello));
    flipped[bit >> 3]! ^= 1 << (bit & 7);
    add(`bit ${bit} of a header flipped`, [flipped], [], "header");
  }
  add("a header in the wrong byte order", [header(6, 1, DATA, 1).swap16()], [], "header");

  for (const trailer of [0x00, 0xa4, 0x5a, 0xff]) {
    const spoiled = encode(hello);
    spoiled[spoiled.length - 1] = trailer;
    const name = `a trailer of 0x${trailer.toString(16).padStart(2, "0")}`;
    add(name, [spoiled], [], "trailer");
    add(`${name} between frames`, [encode(ping), spoiled, encode(hello)], [ping], "trailer");
  }
  add("a bad trailer behind an empty payload", [header(0, 1, DATA, 1), Buffer.of(0)], [], "trailer");
  add(
    "a payload one byte short, so its trailer counts as payload",
    [header(7, 1, DATA, 1), encode(hello).subarray(12), encode(ping)],
    [],
    "trailer",
  );
  add("a frame completed by zeros", [encode(hello).subarray(0, 15), Buffer.alloc(20)], [], "trailer");

  const whole = encode(hello);
  for (const kept of [1, 4, 11, 12, 13, whole.length - 1]) {
    add(`cut after byte ${kept} of ${whole.length}`, [whole.subarray(0, kept)], [], "truncated");
  }
  add("cut in the second frame", [encode(ping), whole.subarray(0, 14)], [ping], "truncated");
  // A header of the largest length is a good one: the receiver waits for the payload.
  add("cut behind a header of the largest length", [header(262_144, 1, DATA, 1)], [], "truncated");
  add("cut before the trailer of an empty frame", [header(0, 1, DATA, 1)], [], "truncated");
  return vectors;
}
