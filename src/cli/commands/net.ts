import { Command } from "commander";
import { type NetworkRecord, Sandbox } from "../../sdk/index.ts";
import { interruptible } from "../interruption.ts";
import { LIMIT_WORDS, parseLimits } from "../network-limit-flags.ts";
import { parseNetworkTarget } from "../network-target.ts";
import { formatBytes, parseCount } from "../quantity.ts";
import { print, printable, printJson, writeTo } from "../terminal.ts";

const HELP = `
Examples:
  $ msb net log -f box                                 every connection and name, and the rule that decided
  $ msb net test box https://example.com               which rule would decide, and why
  $ msb net rules box 'allow domain:example.com tcp:443' 'deny any'
  $ msb net limit box bytes-out=10M packets-in=2000    a second; none lifts one
  $ msb net stats box`;

const RULES_HELP = `
All rules are replaced; without one there is none, and the scope alone decides. The first that matches decides. Connections
that are no longer allowed are closed.

Examples:
  $ msb net rules box 'allow egress domain:*.example.com tcp:443' 'deny egress any'
  $ msb net rules --scope any box`;

export function command(): Command {
  const net = new Command("net")
    .description("Show and change what sandboxes reach.")
    .addHelpText("after", HELP);
  net
    .command("log")
    .description("Show what was decided.")
    .argument("<SANDBOX>", "name or id")
    .option("-f, --follow", "go on with what comes")
    .option("--tail <N>", "only the last so many", parseCount)
    .option("--json", "print one JSON object per line")
    .action((ref: string, flags: { follow?: boolean; tail?: number; json?: boolean }) =>
      interruptible(async (signal) => {
        for await (const record of Sandbox.at(ref).network.log({
          follow: flags.follow,
          tail: flags.tail,
          signal,
        })) {
          await writeTo("stdout", `${flags.json ? JSON.stringify(record) : lineOf(record)}\n`);
        }
      }),
    );
  net
    .command("test")
    .description("Tell what would be decided, without connecting.")
    .argument("<SANDBOX>", "name or id")
    .argument("<TARGET>", "a URL, or HOST:PORT[/udp]")
    .option("--json", "print JSON")
    .action(async (ref: string, target: string, { json }: { json?: boolean }) => {
      const found = await Sandbox.at(ref).network.test(parseNetworkTarget(target));
      if (json) return printJson(found);
      if (found.name !== undefined) print(verdictOf(`name ${printable(found.name.name)}`, found.name));
      if (found.failure !== undefined) print(`       ${printable(found.failure)}`);
      for (const address of found.addresses) {
        print(verdictOf(`${address.address} (${printable(address.place)})`, address));
        for (const step of address.steps)
          print(`       ${step.matched ? "*" : "-"} ${printable(step.rule)}: ${printable(step.why)}`);
        if (address.nameMustShow) print("       TLS and HTTP must name the host that the rule allows");
      }
    });
  net
    .command("rules")
    .description("Replace the rules of a running sandbox.")
    .argument("<SANDBOX>", "name or id")
    .argument("[RULES...]", "rules, each as one argument")
    .option("--scope <SCOPE>", "what it reaches without a rule: group, public or any")
    .addHelpText("after", RULES_HELP)
    .action(async (ref: string, rules: string[], { scope }: { scope?: "group" | "public" | "any" }) => {
      await Sandbox.at(ref).network.update({ ...(scope !== undefined && { scope }), rules });
    });
  net
    .command("limit")
    .description("Change the limits of a running sandbox's network; those that are not named stay.")
    .argument("<SANDBOX>", "name or id")
    .argument("<LIMITS...>", `${LIMIT_WORDS}, as bytes-out=10M; none lifts one`)
    .action(async (ref: string, words: string[]) => {
      await Sandbox.at(ref).network.update({ limits: parseLimits(words, true) });
    });
  net
    .command("stats")
    .description("Show what has gone through.")
    .argument("<SANDBOX>", "name or id")
    .option("--json", "print JSON")
    .action(async (ref: string, { json }: { json?: boolean }) => {
      const found = await Sandbox.at(ref).network.statistics();
      if (json) return printJson(found);
      print(
        `out ${formatBytes(found.bytesOut)}, in ${formatBytes(found.bytesIn)}, ${found.connections} open`,
      );
      for (const [reason, frames] of Object.entries(found.dropped)) print(`dropped: ${frames} × ${reason}`);
    });
  return net;
}

function lineOf(record: NetworkRecord): string {
  const { time, allowed, rule } = record;
  const head = `${time} ${allowed ? "allow" : "deny "}`;
  if (record.kind === "name") {
    const told = record.addresses.length > 0 ? ` = ${record.addresses.join(" ")}` : "";
    return printable(`${head} name ${record.type} ${record.name}${told} [${rule}]`);
  }
  const { direction, protocol, address, port, name, bytesOut, bytesIn, durationMs } = record;
  const whom = `${direction === "egress" ? "to" : "from"} ${address}${name === undefined ? "" : ` (${name})`} ${protocol}:${port}`;
  const moved = allowed ? ` out ${bytesOut} in ${bytesIn} ${durationMs} ms` : ` ${record.reason}`;
  const by = record.process === undefined ? "" : ` by ${record.process.command}(${record.process.pid})`;
  return printable(`${head} ${whom}${by} [${rule}]${moved}`);
}

function verdictOf(
  what: string,
  { allowed, rule, reason }: { allowed: boolean; rule: string; reason: string },
): string {
  return `${allowed ? "allow" : "deny "}  ${what}: ${printable(rule)}: ${printable(reason)}`;
}
