/** control.json and control-invalid.json: CBOR of the protocol's subset with its value, and CBOR to be refused. */

import { type CborValue, cbor, head, toJson } from "./bytes.ts";
import { stateMessages } from "./state-messages.ts";

const MAX_UINT = 2n ** 64n - 1n;
const MIN_INT = -(2n ** 63n);

const listed: CborValue = {
  channel: 4,
  pid: 212,
  stdin: 4_096,
  stdout: [1_048_576, 2_097_152],
  stderr: [0, 0],
};

/** Every message of the protocol, with all its fields and with only the necessary ones. */
const messages: Record<string, CborValue> = {
  "hello of the host": { op: "hello", version: 1, host: "microsandbox 0.1.0" },
  "hello of a guest that is ready": {
    op: "hello",
    version: 1,
    agent: "0.1.0",
    capabilities: [],
    phase: "ready",
    boot: "6f1c9bd2a0e7",
    processes: [],
  },
  "hello of a guest with no version in common": {
    op: "hello",
    version: 0,
    agent: "9.0.0",
    capabilities: [],
    phase: "ready",
    boot: "0",
    processes: [],
  },
  "hello of a guest that runs processes": {
    op: "hello",
    version: 1,
    agent: "0.1.0",
    capabilities: ["pty"],
    phase: "running",
    boot: "6f1c9bd2a0e7",
    processes: [
      listed,
      { channel: 5, pid: 213, stdin: 0, stdout: [0, 12], stderr: [7, 9], exit: { code: 3 } },
      {
        channel: 2_147_483_647,
        pid: 4_194_304,
        stdin: 0,
        stdout: [0, 0],
        stderr: [0, 0],
        exit: { signal: 9 },
      },
    ],
  },
  "hello with keys of a later version": {
    op: "hello",
    version: 1,
    agent: "0.2.0",
    capabilities: ["pty", "a-later-one"],
    phase: "ready",
    boot: "1",
    processes: [],
    later: { nested: [1, { deep: null }] },
  },
  setup: {
    op: "setup",
    id: 1,
    identity: {
      entropy: Buffer.from(Array.from({ length: 32 }, (_, i) => i * 7)),
      time_ns: 1_767_225_600_123_456_789n,
      hostname: "sandbox-7",
      machine_id: "0123456789abcdef0123456789abcdef",
    },
    root: { upper: "fresh", upper_size: 8_589_934_592 },
  },
  prepare: { op: "prepare", id: 1 },
  "prepare with a network": {
    op: "prepare",
    id: 1,
    network: {
      mtu: 9_000,
      addresses: [
        { address: Buffer.from("0ad10002", "hex"), prefix: 24 },
        { address: Buffer.from("fd6d7362000000000000000000000002", "hex"), prefix: 64 },
      ],
      gateways: [Buffer.from("0ad10001", "hex")],
      neighbours: [
        { address: Buffer.from("0ad10001", "hex"), mac: Buffer.from("026d73620001", "hex") },
      ],
      dns: [Buffer.from("0ad10001", "hex")],
    },
  },
  "setup with hosts": {
    op: "setup",
    id: 2,
    identity: {
      entropy: Buffer.alloc(512, 0xee),
      time_ns: 1_767_225_600_000_000_000n,
      hostname: "a",
      machine_id: "ffffffffffffffffffffffffffffffff",
    },
    root: { upper: "kept", upper_size: 0 },
    hosts: { "host.microsandbox.internal": "10.0.2.2", "six.example": "fd00::2" },
  },
  "reply to setup": {
    op: "reply",
    id: 1,
    reseeded: true,
    time_ns: 1_767_225_600_130_000_000n,
    timings: { entropy: 90, clock: 11, root: 5_200 },
  },
  ping: { op: "ping", id: 3 },
  "ping that sets the clock": { op: "ping", id: 3, set_time_ns: 1_767_225_660_000_000_000n },
  "reply to ping": {
    op: "reply",
    id: 3,
    time_ns: 1_767_225_601_000_000_000n,
    uptime_ms: 1_234,
    processes: 2,
  },
  owners: {
    op: "owners",
    id: 6,
    flows: [
      { udp: false, local: 40_000, address: Buffer.from("08080808", "hex"), port: 443 },
      { udp: true, local: 5_353, address: Buffer.from("20010db8000000000000000000000007", "hex"), port: 53 },
    ],
  },
  "reply to owners": { op: "reply", id: 6, owners: [{ pid: 212, command: "curl" }, {}] },
  ...stateMessages,
  shutdown: { op: "shutdown", id: 4, grace_ms: 10_000 },
  "reply to shutdown": { op: "reply", id: 4, killed: 1 },
  "reply with an error": {
    op: "reply",
    id: 5,
    error: { code: "invalid_state", message: "setup was done before" },
  },
  "reply with an error and a hint": {
    op: "reply",
    id: 4_294_967_296,
    error: { code: "resource_exhausted", message: "the disk is full", hint: "remove files" },
  },
  "log, info": { op: "log", level: "info", message: "ready" },
  "log, warn": { op: "log", level: "warn", message: "3 messages were dropped" },
  "log, error, text beyond ASCII": { op: "log", level: "error", message: "kaputt: “größer” 漢字 🧨" },
  "start with the necessary fields": {
    op: "start",
    argv: ["true"],
    env: [],
    cwd: "",
    user: "",
    stdin: false,
  },
  "start with all fields": {
    op: "start",
    argv: ["/bin/sh", "-c", "echo $0; exit 3", "ü"],
    env: ["PATH=/usr/bin:/bin", "EMPTY=", "A=b=c"],
    cwd: "/work",
    user: "1000:www-data",
    stdin: true,
    rlimits: [
      { name: "nofile", soft: 1_024, hard: 4_096 },
      { name: "as", soft: MAX_UINT, hard: MAX_UINT },
    ],
    create_cwd: true,
    pty: { rows: 24, cols: 80, term: "xterm-256color" },
  },
  started: { op: "started", pid: 212 },
  "failed, no such command": {
    op: "failed",
    error: { code: "not_found", message: "no such command: pyhton" },
    exit_code: 127,
  },
  "failed, no such user": {
    op: "failed",
    error: { code: "invalid_argument", message: "no such user: bob", hint: "see /etc/passwd" },
    exit_code: 126,
  },
  signal: { op: "signal", signal: 15, group: false },
  "signal to the group": { op: "signal", signal: 64, group: true },
  "signal to the tree": { op: "signal", signal: 9, group: true, tree: true },
  resize: { op: "resize", rows: 50, cols: 132 },
  close: { op: "close" },
  "exit with a code": { op: "exit", code: 0 },
  "exit with the highest code": { op: "exit", code: 255 },
  "exit by a signal": { op: "exit", signal: 9 },
  "exit for lack of memory": { op: "exit", signal: 9, oom: true },
  "processes killed for lack of memory": { op: "oom", kills: 3 },
};

function nested(depth: number): CborValue {
  let value: CborValue = [];
  for (let level = 1; level < depth; level++) value = [value];
  return value;
}

/** Values that no message needs, each at an edge of the encoding. */
const values: Record<string, CborValue> = {
  zero: 0,
  "the largest in one byte": 23,
  "the smallest in two bytes": 24,
  "the largest in two bytes": 255,
  "the smallest in three bytes": 256,
  "the largest in three bytes": 65_535,
  "the smallest in five bytes": 65_536,
  "the largest in five bytes": 4_294_967_295,
  "the smallest in nine bytes": 4_294_967_296,
  "2^53 - 1": 2n ** 53n - 1n,
  "2^53": 2n ** 53n,
  "2^63": 2n ** 63n,
  "2^64 - 1": MAX_UINT,
  "minus one": -1,
  "minus 24": -24,
  "minus 25": -25,
  "minus 256": -256,
  "minus 257": -257,
  "minus 65,536": -65_536,
  "minus 65,537": -65_537,
  "minus 2^32": -4_294_967_296,
  "minus 2^32 - 1": -4_294_967_297,
  "-(2^53 - 1)": -(2n ** 53n - 1n),
  "-2^53": -(2n ** 53n),
  "-2^63": MIN_INT,
  "false, true and null": [false, true, null],
  "empty text": "",
  "empty bytes": Buffer.alloc(0),
  "empty array": [],
  "empty map": {},
  "an empty key": { "": 1 },
  "keys that are not in order": { zz: 1, a: 2, mm: 3, b: 4 },
  "keys that a JavaScript object has by birth": { constructor: 1, toString: 2, ["__proto__"]: 3 },
  "text of 23 bytes": "t".repeat(23),
  "text of 24 bytes": "t".repeat(24),
  "text of 255 bytes": "t".repeat(255),
  "text of 256 bytes": "t".repeat(256),
  "bytes of 23": Buffer.alloc(23, 0xc3),
  "bytes of 24": Buffer.alloc(24, 0xff),
  "bytes that are no UTF-8": Buffer.from("fffe80c3", "hex"),
  "an array of 23": Array.from({ length: 23 }, (_, i) => i),
  "an array of 24": Array.from({ length: 24 }, (_, i) => i),
  "an array of 256": Array.from({ length: 256 }, () => 0),
  "a map of 24": Object.fromEntries(Array.from({ length: 24 }, (_, i) => [`k${i}`, i])),
  "text with a NUL": "a\0b",
  "text with a byte order mark": "\uFEFFmark",
  "text of two, three and four bytes a character": "ß€𝄞",
  "the last code point": "\u{10FFFF}",
  "the code points around the surrogates": "\uD7FF\uE000",
  "nesting of 8 arrays": nested(8),
  "nesting of 8, maps and arrays in turn": { a: [{ b: [{ c: [{ d: [0] }] }] }] },
};

export function controlVectors(): unknown[] {
  const all = [...Object.entries(messages), ...Object.entries(values)];
  return all.map(([name, value]) => ({ name, hex: cbor(value).toString("hex"), value: toJson(value) }));
}

function hex(text: string): Buffer {
  return Buffer.from(text.replaceAll(" ", ""), "hex");
}

/** A text string of exactly these bytes. */
function text(bytes: string): Buffer {
  return Buffer.concat([head(3, hex(bytes).length), hex(bytes)]);
}

const invalid: Record<string, Buffer> = {
  "nothing at all": hex(""),

  "0 in two bytes": hex("18 00"),
  "23 in two bytes": hex("18 17"),
  "255 in three bytes": hex("19 00ff"),
  "65,535 in five bytes": hex("1a 0000ffff"),
  "2^32 - 1 in nine bytes": hex("1b 00000000ffffffff"),
  "minus one in two bytes": hex("38 00"),
  "minus 256 in three bytes": hex("39 00ff"),
  "minus 65,536 in five bytes": hex("3a 0000ffff"),
  "minus 2^32 in nine bytes": hex("3b 00000000ffffffff"),
  "a text's length in two bytes": hex("78 01 61"),
  "a text's length in nine bytes": hex("7b 0000000000000001 61"),
  "a byte string's length in three bytes": hex("59 0001 61"),
  "an array's length in two bytes": hex("98 01 00"),
  "a map's length in two bytes": hex("b8 01 61 61 00"),
  "a map's length in five bytes": hex("ba 00000001 61 61 00"),
  "below -2^63": hex("3b 8000000000000000"),
  "-2^64": hex("3b ffffffffffffffff"),

  "a reserved length, 28": hex("1c"),
  "a reserved length, 29": hex("5d"),
  "a reserved length, 30": hex("9e"),
  "an indefinite integer": hex("1f"),
  "an indefinite negative integer": hex("3f"),
  "an indefinite byte string": hex("5f 41 00 ff"),
  "an indefinite text": hex("7f 61 61 ff"),
  "an indefinite array": hex("9f 00 ff"),
  "an indefinite map": hex("bf 61 61 00 ff"),
  "an indefinite array inside": hex("82 00 9f ff"),
  "a break alone": hex("ff"),
  "a break in an array": hex("82 00 ff"),
  "a break for a map's value": hex("a1 61 61 ff"),

  "a tag": hex("c0 60"),
  "a tagged integer": hex("c1 1a 5e0be100"),
  "a bignum": hex("c2 49 010000000000000000"),
  "the tag of CBOR itself": hex("d9 d9f7 a0"),
  "a tag inside": hex("a1 61 61 c1 00"),
  "a half float": hex("f9 3c00"),
  "a half float, NaN": hex("f9 7e00"),
  "a single float": hex("fa 3f800000"),
  "a double float": hex("fb 3ff0000000000000"),
  "a float inside": hex("a1 61 61 fb 4009 21fb 5444 2d18"),
  undefined: hex("f7"),
  "undefined inside": hex("a1 61 61 f7"),
  "a simple value": hex("e0"),
  "simple value 19": hex("f3"),
  "simple value 255 in two bytes": hex("f8 ff"),
  "false in two bytes": hex("f8 14"),
  "a reserved simple value": hex("fc"),

  "two items": hex("00 00"),
  "a byte behind a map": hex("a0 00"),
  "a map twice": hex("a1 62 6f70 60 a1 62 6f70 60"),

  "a key twice": hex("a2 61 61 00 61 61 01"),
  "a key twice, far apart": hex("a3 61 61 00 61 62 00 61 61 00"),
  "a key twice in an inner map": hex("a1 61 6f a2 61 61 00 61 61 00"),
  "an integer as key": hex("a1 01 02"),
  "a byte string as key": hex("a1 41 61 02"),
  "null as key": hex("a1 f6 02"),
  "an array as key": hex("a1 80 02"),

  "a lone continuation byte": text("80"),
  "a two-byte character cut": text("c3"),
  "a three-byte character cut": text("e2 82"),
  "a four-byte character cut": text("f0 9f a7"),
  "an overlong slash": text("c0 af"),
  "an overlong NUL": text("c0 80"),
  "an overlong euro sign": text("f0 82 82 ac"),
  "a surrogate in UTF-8": text("ed a0 80"),
  "a code point above 10FFFF": text("f4 90 80 80"),
  "the byte 0xff in text": text("61 ff 62"),
  "invalid UTF-8 in long text": Buffer.concat([head(3, 65), Buffer.alloc(64, 0x61), hex("c3")]),
  "invalid UTF-8 in a key": hex("a1 61 ff 00"),
  "invalid UTF-8 in a value": hex("a1 61 61 62 c3 28"),

  "a head cut in its length": hex("19 01"),
  "text cut": hex("65 61 62 63"),
  "bytes cut": hex("45 01 02"),
  "an array cut": hex("83 01 02"),
  "a map cut behind a key": hex("a1 61 61"),
  "a map cut before a key": hex("a2 61 61 00"),
  "a text that claims 2^32 - 1 bytes": hex("7a ffffffff 61"),
  "a text that claims 2^64 - 1 bytes": hex("7b ffffffffffffffff 61"),
  "a byte string that claims 2^63 bytes": hex("5b 8000000000000000 00"),
  "an array that claims 65,536 items": hex("9a 00010000 00"),
  "an array that claims 2^32 - 1 items": hex("9a ffffffff 00"),
  "an array that claims 2^64 - 1 items": hex("9b ffffffffffffffff 00"),
  "a map that claims 2^63 entries": hex("bb 8000000000000000 61 61 00"),

  "nesting of 9 arrays": cbor(nested(9)),
  "nesting of 9, maps and arrays in turn": cbor({ a: [{ b: [{ c: [{ d: [{}] }] }] }] }),
  "nesting of 200": Buffer.alloc(200, 0x81),
};

export function invalidControlVectors(): unknown[] {
  return Object.entries(invalid).map(([name, bytes]) => ({ name, hex: bytes.toString("hex") }));
}
