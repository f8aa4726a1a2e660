import { expect, test } from "vitest";
import type { SandboxMetrics } from "../contract/index.ts";
import { prometheusText } from "./prometheus.ts";
import { localMetrics } from "./testing/local-metrics.ts";

/** The grammar of a sample, from the description of the format. */
const NAME = "[a-zA-Z_:][a-zA-Z0-9_:]*";
const LABEL = String.raw`[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\["\\n])*"`;
const VALUE = String.raw`-?(?:\d+(?:\.\d+)?(?:[eE][+-]?\d+)?|Inf)|\+Inf|NaN`;
const SAMPLE = new RegExp(`^(${NAME})(?:\\{(${LABEL}(?:,${LABEL})*)?\\})? (?:${VALUE})$`);

/** Reads a text as the format's rules have it. @throws on what breaks one */
function parse(text: string): Map<string, { type: string; labels: string[] }> {
  if (!text.endsWith("\n")) throw new Error("the last line does not end");
  const metrics = new Map<string, { type: string; labels: string[] }>();
  const helped = new Set<string>();
  let current = "";
  for (const line of text.slice(0, -1).split("\n")) {
    const comment = /^# (HELP|TYPE) (\S+) (.+)$/.exec(line);
    if (comment) {
      const [, kind, name = "", rest = ""] = comment;
      if (kind === "HELP") {
        if (helped.has(name)) throw new Error(`second help of ${name}`);
        helped.add(name);
      } else {
        if (metrics.has(name)) throw new Error(`second type of ${name}, or after its samples`);
        if (!["counter", "gauge"].includes(rest)) throw new Error(`type ${rest}`);
        if ((rest === "counter") !== name.endsWith("_total")) throw new Error(`name of a ${rest}: ${name}`);
        metrics.set(name, { type: rest, labels: [] });
        current = name;
      }
      continue;
    }
    const sample = SAMPLE.exec(line);
    if (!sample) throw new Error(`no sample: ${line}`);
    const [, name = "", labels = ""] = sample;
    if (name !== current) throw new Error(`a sample of ${name} between those of ${current}`);
    const metric = metrics.get(name)!;
    if (metric.labels.includes(labels)) throw new Error(`twice the same: ${line}`);
    metric.labels.push(labels);
  }
  return metrics;
}

test("the text keeps the format's rules, also with odd names and large numbers", () => {
  const odd: SandboxMetrics = { ...localMetrics("a1", 'say "hi"\\\n'), uptimeMs: 1e300 };
  const { guest: _guest, ...silent } = { ...localMetrics("b2", "silent"), health: "unresponsive" as const };
  const text = prometheusText([localMetrics("c3", "box"), odd, silent], 4);
  const metrics = parse(text);
  expect(metrics.get("microsandbox_sandboxes")).toEqual({ type: "gauge", labels: [""] });
  expect(metrics.get("microsandbox_sandbox_up")?.labels).toEqual([
    'id="c3",name="box"',
    String.raw`id="a1",name="say \"hi\"\\\n"`,
    'id="b2",name="silent"',
  ]);
  // Of one that does not answer only what the host knows is told.
  expect(metrics.get("microsandbox_sandbox_processes")?.labels).toHaveLength(2);
  expect(metrics.get("microsandbox_sandbox_host_cpu_seconds_total")?.labels).toHaveLength(3);
  expect(text).toContain('microsandbox_sandbox_up{id="b2",name="silent"} 0\n');
  expect(text).toContain('microsandbox_sandbox_memory_used_bytes{id="c3",name="box"} 40000000\n');
});

test("without sandboxes there is still something to scrape", () => {
  expect([...parse(prometheusText([], 0)).keys()]).toEqual(["microsandbox_sandboxes"]);
});

test("pools are told of by image and shape", () => {
  const pool = {
    image: 'a"b',
    cpus: 2,
    memoryMiB: 512,
    network: true,
    wanted: 3,
    ready: 1,
    hits: 7,
    misses: 4,
  };
  const text = prometheusText([], 0, [{ ...pool, filling: false, learned: false }]);
  expect([...parse(text).keys()]).toEqual([
    "microsandbox_sandboxes",
    "microsandbox_pool_wanted",
    "microsandbox_pool_ready",
    "microsandbox_pool_hits_total",
    "microsandbox_pool_misses_total",
  ]);
  const labels = String.raw`{image="a\"b",cpus="2",memory_mib="512",network="true"}`;
  for (const [name, value] of [
    ["wanted", 3],
    ["ready", 1],
    ["hits_total", 7],
  ])
    expect(text).toContain(`microsandbox_pool_${name}${labels} ${value}\n`);
});
