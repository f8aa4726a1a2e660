import { z } from "zod";
import { SandboxError } from "./errors.ts";
import { IpAddress } from "./ip-address.ts";
import { groupName } from "./names.ts";
import { MAX_RULE_LENGTH, parseRule, parseTarget, SET_NAME } from "./network-rule.ts";

/** What a sandbox is asked to have of the network: its scope, rules, published ports and limits. */

/**
 * What a sandbox reaches without a rule. `none`: it has no network. `group`: sandboxes of its group. `public`: the public
 * internet, and its group. `any`: private networks too.
 */
export const NETWORK_SCOPES = ["none", "group", "public", "any"] as const;
export type NetworkScope = (typeof NETWORK_SCOPES)[number];
export const DEFAULT_NETWORK_SCOPE: NetworkScope = "public";
/** Of a sandbox that is put into a group: whoever wants more for it says so. */
export const DEFAULT_GROUP_SCOPE: NetworkScope = "group";

export const MAX_RULES = 256;
export const MAX_PUBLISHED_PORTS = 128;
export const MAX_SETS = 64;
export const MAX_SET_TARGETS = 256;
export const DEFAULT_CONNECTIONS = 1024;
export const MAX_CONNECTIONS = 16_384;

/** Puts what the parser says where zod collects such things. */
function refine(check: () => unknown, ctx: z.RefinementCtx): void {
  try {
    check();
  } catch (error) {
    const { message, hint } = SandboxError.from(error);
    ctx.addIssue({ code: "custom", message: hint === undefined ? message : `${message} (${hint})` });
  }
}

const word = z.string().max(MAX_RULE_LENGTH).regex(/^\S+$/, "must be one word");

const ruleFields = z.strictObject({
  action: z.enum(["allow", "deny"]),
  direction: z.enum(["egress", "ingress"]).default("egress"),
  target: word.meta({ description: "As in a rule's text: `public`, `10.0.0.0/8`, `domain:example.com`." }),
  ports: z
    .array(word)
    .max(32)
    .default([])
    .meta({ description: "`tcp:443`, `udp`, `tcp:8000-8999`. Default: all." }),
});

/** The text of a rule that came as an object. */
export function ruleTextOf(rule: NetworkRuleSpec): string {
  if (typeof rule === "string") return rule;
  return [rule.action, rule.direction, rule.target, rule.ports.join(",")]
    .filter((part) => part !== "")
    .join(" ");
}

export const networkRule = z
  .union([z.string().max(MAX_RULE_LENGTH), ruleFields])
  .superRefine((rule, ctx) => refine(() => parseRule(ruleTextOf(rule)), ctx))
  .meta({
    id: "NetworkRule",
    description:
      "`allow egress domain:example.com tcp:443`, or the same as an object. The first rule that matches decides.",
  });
export type NetworkRuleSpec = z.output<typeof ruleFields> | string;

const port = z.int().min(1).max(65535);

export const publishedPort = z
  .strictObject({
    bind: z
      .union([z.ipv4(), z.ipv6()])
      .default("127.0.0.1")
      .meta({ description: "Address of the host to listen on." }),
    host: z.int().min(0).max(65535).meta({ description: "Port of the host. 0: any that is free." }),
    guest: port,
    protocol: z.enum(["tcp", "udp"]).default("tcp"),
  })
  .meta({ id: "PublishedPort" });

const connections = z.int().min(1).max(MAX_CONNECTIONS);
const queriesPerSecond = z.int().min(1).max(100_000);
const bytesPerSecond = z.int().min(1024);
/** Less, and a connection could not begin. */
const packetsPerSecond = z.int().min(10);

export const networkLimits = z
  .strictObject({
    connections: connections.default(DEFAULT_CONNECTIONS),
    egressBytesPerSecond: bytesPerSecond.optional().meta({ description: "Default: not limited." }),
    ingressBytesPerSecond: bytesPerSecond.optional().meta({ description: "Default: not limited." }),
    egressPacketsPerSecond: packetsPerSecond.optional().meta({ description: "Default: not limited." }),
    ingressPacketsPerSecond: packetsPerSecond.optional().meta({ description: "Default: not limited." }),
    queriesPerSecond: queriesPerSecond.default(200).meta({ description: "Questions about names." }),
  })
  .meta({ id: "NetworkLimits" });

export const DEFAULT_CAPTURE_MIB = 1024;

export const networkCapture = z
  .strictObject({
    file: z
      .string()
      .max(4096)
      .regex(/^\/[^\0]*[^\0/]$/, "must be the absolute path of a file")
      .meta({ description: "Of the daemon's machine; replaced with each start of the sandbox." }),
    maxMiB: z
      .int()
      .min(1)
      .max(1024 * 1024)
      .default(DEFAULT_CAPTURE_MIB)
      .meta({ description: "What comes when the file has as much is left out." }),
  })
  .meta({
    id: "NetworkCapture",
    description: "Writes all frames that the sandbox sends and receives, as Wireshark reads them.",
  });

const rules = z.array(networkRule).max(MAX_RULES);

export const networkSpec = z
  .strictObject({
    scope: z.enum(NETWORK_SCOPES).optional().meta({
      description:
        "What it reaches without a rule. Default: `public`; of a sandbox that is put into a group, `group`.",
    }),
    group: groupName.optional().meta({
      description:
        "Sandboxes of one group reach each other, by their names. It cannot be changed. Default: none.",
    }),
    rules: rules.default([]),
    ports: z.array(publishedPort).max(MAX_PUBLISHED_PORTS).default([]),
    limits: networkLimits.prefault({}),
    capture: networkCapture.optional().meta({ description: "Default: nothing is captured." }),
  })
  .transform(({ scope, ...rest }) => ({
    scope: scope ?? (rest.group === undefined ? DEFAULT_NETWORK_SCOPE : DEFAULT_GROUP_SCOPE),
    ...rest,
  }))
  .meta({ id: "Network" });
export type NetworkSpec = z.output<typeof networkSpec>;
/** What the steps of a build may reach. */
export const buildNetwork = z
  .strictObject({
    rules: rules.default([]),
    scope: z.enum(["none", "public", "any"]).default("public"),
  })
  .meta({ id: "BuildNetwork" });
export type BuildNetwork = z.output<typeof buildNetwork>;

/** Those that are not given stay. */
export const networkLimitChanges = z
  .strictObject({
    connections: connections.optional(),
    egressBytesPerSecond: liftable(bytesPerSecond),
    ingressBytesPerSecond: liftable(bytesPerSecond),
    egressPacketsPerSecond: liftable(packetsPerSecond),
    ingressPacketsPerSecond: liftable(packetsPerSecond),
    queriesPerSecond: queriesPerSecond.optional(),
  })
  .meta({ id: "NetworkLimitChanges" });

function liftable(limit: typeof bytesPerSecond) {
  return limit.nullable().optional().meta({ description: "null: not limited." });
}

/** What can be changed of a network while its sandbox runs. */
export const networkChanges = z
  .strictObject(
    {
      scope: z.enum(NETWORK_SCOPES).optional().meta({ description: "Not to or from `none`." }),
      rules: rules.optional().meta({ description: "All of them, anew." }),
      limits: networkLimitChanges.optional(),
    },
    {
      error: ({ code, keys }) =>
        code === "unrecognized_keys" && (keys as string[]).includes("ports")
          ? "published ports are chosen when a sandbox is created and stay for its life"
          : undefined,
    },
  )
  .meta({ id: "NetworkChanges" });
export type NetworkChanges = z.output<typeof networkChanges>;

export type NetworkSpecInput = z.input<typeof networkSpec>;
export type PublishedPort = z.output<typeof publishedPort>;
export type NetworkLimits = z.output<typeof networkLimits>;

const resolver = z
  .string()
  .refine(isResolver, "must be an address, or ADDRESS:PORT with brackets around IPv6");

function isResolver(text: string): boolean {
  if (IpAddress.parse(text) !== undefined) return true;
  const [, v6, v4, port] = /^(?:\[(.+)\]|([\d.]+)):([1-9]\d{0,4})$/.exec(text) ?? [];
  return IpAddress.parse(v6 ?? v4 ?? "")?.version === (v6 === undefined ? 4 : 6) && Number(port) <= 65_535;
}

/** `network.json` in the home: named sets of targets, who is asked about names, and a proxy. A set holds no other set. */
export const networkSettings = z.strictObject({
  sets: z
    .record(
      z.string().regex(SET_NAME, "a set's name has lower-case letters, digits and hyphens"),
      z
        .array(
          word.superRefine((text, ctx) => {
            refine(() => parseTarget(text), ctx);
            if (text.startsWith("@")) ctx.addIssue({ code: "custom", message: "a set holds no other set" });
          }),
        )
        .max(MAX_SET_TARGETS),
    )
    .refine((sets) => Object.keys(sets).length <= MAX_SETS, `at most ${MAX_SETS} sets`)
    .default({}),
  resolvers: z.array(resolver).min(1).max(3).optional().meta({ description: "Default: the host's." }),
  proxy: z
    .string()
    .regex(/^(?:socks5|http):\/\/./, "must be the URL of a SOCKS5 or HTTP proxy")
    .optional()
    .meta({
      description:
        "For all that goes out but to the host itself; what it cannot carry is refused. Default: none.",
    }),
  proxyNames: z.boolean().optional().meta({
    description:
      "The proxy is given names where they are known, and decides what they lead to. Default: false.",
  }),
});
export type NetworkSettings = z.output<typeof networkSettings>;
