import { z } from "zod";

/** What a sandbox's network decided, as it is kept and shown. */

const decision = {
  time: z.iso.datetime().meta({ description: "When it was decided." }),
  allowed: z.boolean(),
  rule: z.string().meta({ description: "The rule that decided, or `scope public` where none did." }),
  reason: z.string(),
};

export const connectionRecord = z
  .object({
    kind: z.literal("connection"),
    ...decision,
    direction: z.enum(["egress", "ingress"]),
    protocol: z.enum(["tcp", "udp", "icmp"]),
    address: z.string().meta({ description: "Of the other side." }),
    port: z.int().meta({ description: "That was connected to." }),
    name: z.string().optional().meta({ description: "What the sandbox knows the address by." }),
    bytesOut: z.int().meta({ description: "From the sandbox." }),
    bytesIn: z.int().meta({ description: "To the sandbox." }),
    durationMs: z.int(),
    process: z.object({ pid: z.int(), command: z.string() }).optional().meta({
      description:
        "Who opened it inside of the sandbox: the guest's word. Missing where it ended before it was known.",
    }),
  })
  .meta({ id: "ConnectionRecord" });
export type ConnectionRecord = z.output<typeof connectionRecord>;

export const nameRecord = z
  .object({
    kind: z.literal("name"),
    ...decision,
    name: z.string(),
    type: z.string().meta({ description: "`A`, `AAAA`, `HTTPS`, …" }),
    addresses: z.array(z.string()).meta({ description: "That the sandbox was told." }),
  })
  .meta({ id: "NameRecord" });
export type NameRecord = z.output<typeof nameRecord>;

/** A connection is told of when it is denied or over, a question about a name when it is answered. */
export const networkRecord = z
  .discriminatedUnion("kind", [connectionRecord, nameRecord])
  .meta({ id: "NetworkRecord" });
export type NetworkRecord = z.output<typeof networkRecord>;

export const networkQuestion = z
  .strictObject({
    direction: z.enum(["egress", "ingress"]).default("egress"),
    protocol: z.enum(["tcp", "udp"]).default("tcp"),
    host: z.string().min(1).max(1024).meta({ description: "A name or an address." }),
    port: z.int().min(1).max(65535),
  })
  .meta({ id: "NetworkQuestion" });
export type NetworkQuestion = z.output<typeof networkQuestion>;
export type NetworkQuestionInput = z.input<typeof networkQuestion>;

const verdict = z.object({ allowed: z.boolean(), rule: z.string(), reason: z.string() });

export const networkExplanation = z
  .object({
    name: verdict
      .extend({ name: z.string() })
      .optional()
      .meta({ description: "Whether the name may be asked for, where it is one." }),
    failure: z.string().optional().meta({ description: "Why the name has no address, where it has none." }),
    addresses: z.array(
      verdict.extend({
        address: z.string(),
        place: z.string().meta({ description: "What the address is, and who says so." }),
        nameMustShow: z
          .boolean()
          .meta({ description: "TLS and HTTP must name a host that a rule allows in their first bytes." }),
        steps: z
          .array(z.object({ rule: z.string(), matched: z.boolean(), why: z.string() }))
          .meta({ description: "The rules that were looked at, in order." }),
      }),
    ),
  })
  .meta({ id: "NetworkExplanation" });
export type NetworkExplanation = z.output<typeof networkExplanation>;

export const networkStatistics = z
  .object({
    bytesOut: z.int().meta({ description: "Of frames that the sandbox sent." }),
    bytesIn: z.int(),
    connections: z.int().meta({ description: "TCP connections and exchanges of datagrams that are open." }),
    dropped: z
      .record(z.string(), z.int())
      .meta({ description: "Frames that went no further, by their reason." }),
  })
  .meta({ id: "NetworkStatistics" });
export type NetworkStatistics = z.output<typeof networkStatistics>;
