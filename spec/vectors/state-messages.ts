import type { CborValue } from "./bytes.ts";

const MAX_UINT = 2n ** 64n - 1n;

/** What host and guest say to each other while user processes stand still. */
export const stateMessages: Record<string, CborValue> = {
  "hello of a guest that stands still": {
    op: "hello",
    version: 1,
    agent: "0.1.0",
    capabilities: ["states"],
    phase: "running",
    boot: "6f1c9bd2a0e7",
    frozen: true,
    processes: [],
  },
  freeze: { op: "freeze", id: 7, timeout_ms: 2_000 },
  restore: {
    op: "restore",
    id: 8,
    identity: {
      entropy: Buffer.alloc(64, 0x5a),
      time_ns: 1_767_229_200_000_000_000n,
      hostname: "sandbox-8",
      machine_id: "fedcba9876543210fedcba9876543210",
    },
    generation: 1,
  },
  "restore with a network": {
    op: "restore",
    id: 8,
    identity: {
      entropy: Buffer.alloc(32, 0x5b),
      time_ns: 1_767_229_200_000_000_001n,
      hostname: "b",
      machine_id: "00000000000000000000000000000001",
    },
    generation: MAX_UINT,
    network: {
      mtu: 9_000,
      mac: Buffer.from("026d73620003", "hex"),
      addresses: [{ address: Buffer.from("0ad10003", "hex"), prefix: 24 }],
      gateways: [Buffer.from("0ad10001", "hex")],
      neighbours: [
        { address: Buffer.from("0ad10001", "hex"), mac: Buffer.from("026d73620001", "hex") },
      ],
      dns: [],
    },
    keep_connections: true,
  },
  "reply to restore": {
    op: "reply",
    id: 8,
    reseeded: true,
    time_ns: 1_767_229_200_004_000_000n,
    timings: { identity: 300, names: 120, total: 4_000 },
  },
  thaw: { op: "thaw", id: 9, hooks: true },
  "reply to thaw": {
    op: "reply",
    id: 9,
    hooks: [
      { name: "10-ssh-keys", code: 0 },
      { name: "20-cache", signal: 9 },
      { name: "30-slow", timeout: true },
    ],
  },
};
