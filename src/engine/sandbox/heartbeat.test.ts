import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { SandboxError } from "../../contract/index.ts";
import type { PingResult } from "../guest/index.ts";
import { Heartbeat } from "./heartbeat.ts";

const PONG: PingResult = { timeNs: 0n, uptimeMs: 1, processes: 0 };

/** An agent that answers as long as it is awake, and a ping that waited when it wakes. */
class Agent {
  pings = 0;
  awake = true;
  ended = false;
  private waiting: (() => void)[] = [];

  ping({ timeoutMs = 0 }: { timeoutMs?: number | undefined } = {}): Promise<PingResult> {
    this.pings++;
    if (this.ended) return Promise.reject(new SandboxError("unavailable", "gone"));
    if (this.awake) return Promise.resolve(PONG);
    return new Promise((resolve, reject) => {
      this.waiting.push(() => resolve(PONG));
      setTimeout(() => reject(new SandboxError("timeout", "silent")), timeoutMs);
    });
  }

  wake(): void {
    this.awake = true;
    for (const answer of this.waiting.splice(0)) answer();
  }
}

describe("a heartbeat", () => {
  beforeEach(() => {
    vi.useFakeTimers();
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  test("tells once when a guest falls silent, and once when it is back", async () => {
    const changes: string[] = [];
    const agent = new Agent();
    const heartbeat = new Heartbeat(1_000, (health) => changes.push(health));
    heartbeat.watch(agent);
    await vi.advanceTimersByTimeAsync(5_000);
    expect([agent.pings, changes]).toEqual([5, []]);
    agent.awake = false;
    await vi.advanceTimersByTimeAsync(10_000);
    expect(changes).toEqual(["unresponsive"]);
    expect(agent.pings).toBeLessThan(16);
    agent.wake();
    await vi.advanceTimersByTimeAsync(0);
    expect(changes).toEqual(["unresponsive", "responsive"]);
    expect(heartbeat.health).toBe("responsive");
    heartbeat.end();
  });

  test("does not ask without a pause what fails at once", async () => {
    let pings = 0;
    const full = {
      ping: () => {
        pings++;
        return Promise.reject(new SandboxError("resource_exhausted", "too much waits for the guest"));
      },
    };
    const heartbeat = new Heartbeat(1_000, () => {});
    heartbeat.watch(full);
    await vi.advanceTimersByTimeAsync(5_500);
    expect(pings).toBe(5);
    expect(heartbeat.health).toBe("unresponsive");
    heartbeat.end();
  });

  test("leaves a connection alone that has ended, and one that it watches no more", async () => {
    const changes: string[] = [];
    const heartbeat = new Heartbeat(1_000, (health) => changes.push(health));
    const [first, second] = [new Agent(), new Agent()];
    heartbeat.watch(first);
    first.ended = true;
    await vi.advanceTimersByTimeAsync(10_000);
    expect([first.pings, changes]).toEqual([1, []]);
    heartbeat.watch(second);
    heartbeat.end();
    await vi.advanceTimersByTimeAsync(10_000);
    expect(second.pings).toBe(0);
  });

  test("asks once in an interval after it was watched again, also with a ping under way", async () => {
    const agent = new Agent();
    const heartbeat = new Heartbeat(1_000, () => {});
    heartbeat.watch(agent);
    for (let pause = 0; pause < 3; pause++) {
      agent.awake = false;
      await vi.advanceTimersByTimeAsync(1_000);
      heartbeat.end();
      heartbeat.watch(agent);
      agent.wake();
    }
    agent.pings = 0;
    await vi.advanceTimersByTimeAsync(10_000);
    expect(agent.pings).toBe(10);
    heartbeat.end();
  });
});
