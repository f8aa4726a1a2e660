import { setTimeout as sleep } from "node:timers/promises";
import { Daemon, Sandbox } from "../../src/sdk/index.ts";
import { IMAGE, type Workbench } from "../workbench.ts";

/** What a network costs a start, and whether many starts with networks hold up the daemon's API. */

export interface Starts {
  /** Create and first command, ms. */
  without: number[];
  with: number[];
}

/** In turns; each sandbox is gone before the next one starts. */
export async function measureStarts(bench: Workbench, rounds: number): Promise<Starts> {
  const starts: Starts = { without: [], with: [] };
  for (let i = -1; i < rounds; i++) {
    for (const [kind, scope] of [
      ["without", "none"],
      ["with", "public"],
    ] as const) {
      const begin = performance.now();
      const sandbox = await Sandbox.create({
        image: IMAGE,
        connection: bench.connection,
        network: { scope },
      });
      await sandbox.exec("true");
      const took = performance.now() - begin;
      await sandbox.remove({ force: true });
      await bench.settle();
      if (i >= 0) starts[kind].push(took);
    }
  }
  return starts;
}

const MANY = 50;
const ASK_EVERY_MS = 10;

/** How long the API takes to say how it is, asked again and again while many sandboxes are started one after the other. */
export async function measureApi(bench: Workbench, scope: "none" | "public"): Promise<number[]> {
  const milliseconds: number[] = [];
  let over = false;
  const asking = (async () => {
    for (; !over; await sleep(ASK_EVERY_MS)) {
      const begin = performance.now();
      await Daemon.status({ connection: bench.connection });
      milliseconds.push(performance.now() - begin);
    }
  })();
  const sandboxes: Sandbox[] = [];
  for (let i = 0; i < MANY; i++)
    sandboxes.push(await Sandbox.create({ image: IMAGE, connection: bench.connection, network: { scope } }));
  over = true;
  await asking;
  for (const sandbox of sandboxes) await sandbox.remove({ force: true });
  await bench.settle();
  return milliseconds;
}
