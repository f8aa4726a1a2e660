import { afterEach, expect, test } from "vitest";
import type { PoolRow } from "../store/index.ts";
import { Pool, type PoolOptions } from "./pool.ts";
import type { PoolSettings } from "./settings.ts";

/** The pool without VMs: what it has made, taken out and put away. */

class FakeVm {
  readonly imageDigest: string;
  readonly memoryMiB: number;
  discarded = false;
  readonly #gone = Promise.withResolvers<string>();
  readonly gone = this.#gone.promise;

  constructor(imageDigest: string, memoryMiB: number) {
    this.imageDigest = imageDigest;
    this.memoryMiB = memoryMiB;
  }

  die(): void {
    this.#gone.resolve("it crashed");
  }

  async discard(): Promise<void> {
    this.discarded = true;
  }
}

class World {
  readonly made: FakeVm[] = [];
  readonly rows: PoolRow[] = [];
  readonly events: { type: string; message?: string | undefined }[] = [];
  readonly digests = new Map<string, string>();
  settings: PoolSettings = { memoryMiB: 4096, cpuShare: 1, learn: false };
  roomMiB = Number.POSITIVE_INFINITY;
  /** Holds back the making of VMs. */
  held: Promise<void> | undefined;
  attempts = 0;
  failure: Error | undefined;
  readonly pool: Pool<FakeVm, { digest: string }>;

  constructor(rows: PoolRow[] = []) {
    this.rows = rows;
    const options: PoolOptions<FakeVm, { digest: string }> = {
      source: {
        image: async (name) => {
          if (name === "nobody") throw new Error("there is no such image");
          return { digest: this.digestOf(name) };
        },
        warmUp: async ({ digest }, { memoryMiB }, signal) => {
          this.attempts++;
          if (this.held !== undefined) {
            const cut = Promise.withResolvers<void>();
            signal.addEventListener("abort", () => cut.resolve());
            await Promise.race([this.held, cut.promise]);
          }
          signal.throwIfAborted();
          if (this.failure !== undefined) throw this.failure;
          const vm = new FakeVm(digest, memoryMiB);
          this.made.push(vm);
          return vm;
        },
      },
      table: {
        list: () => this.rows,
        put: (row) => void this.rows.push(row),
        delete: ({ image }) =>
          void this.rows.splice(
            this.rows.findIndex((row) => row.image === image),
            1,
          ),
      },
      events: { add: (event) => void this.events.push(event) },
      settings: () => this.settings,
      hasRoomFor: (memoryMiB) => memoryMiB <= this.roomMiB,
      quietMs: 0,
      retryMs: 1,
    };
    this.pool = new Pool(options);
  }

  digestOf(image: string): string {
    return this.digests.get(image) ?? `sha256:${image}`;
  }

  request(image: string, shape = SHAPE) {
    return { image, digest: this.digestOf(image), shape };
  }

  /** How many are ready, of each pool. */
  get ready(): number[] {
    return this.pool.list().map(({ ready }) => ready);
  }
}

const SHAPE = { cpus: 1, memoryMiB: 256, network: true };
const wanted = (image: string, count: number, more = {}) => ({ image, ...SHAPE, ...more, count });

let world: World;
afterEach(() => world.pool.close());

test("as many as are wanted are made ready; each is given out once, and another takes its place", async () => {
  world = new World();
  await world.pool.set(wanted("python", 2));
  await expect.poll(() => world.ready).toEqual([2]);
  const first = world.pool.take(world.request("python"));
  const second = world.pool.take(world.request("python"));
  expect(first).toBe(world.made[0]);
  expect(second).toBe(world.made[1]);
  expect(world.pool.take(world.request("python"))).toBeUndefined();
  world.pool.busy()();
  await expect.poll(() => world.ready).toEqual([2]);
  expect(world.pool.list()).toMatchObject([{ wanted: 2, hits: 2, misses: 1, learned: false }]);
  expect(new Set([first, second, world.pool.take(world.request("python"))]).size).toBe(3);
});

test("what is of another shape or image is not served, and is no miss", async () => {
  world = new World();
  await world.pool.set(wanted("python", 1));
  await expect.poll(() => world.ready).toEqual([1]);
  for (const other of [{ cpus: 2 }, { memoryMiB: 512 }, { network: false }])
    expect(world.pool.take(world.request("python", { ...SHAPE, ...other }))).toBeUndefined();
  expect(world.pool.take(world.request("node"))).toBeUndefined();
  expect(world.pool.list()).toMatchObject([{ hits: 0, misses: 0 }]);
  // By another name, but the same image.
  expect(world.pool.take({ ...world.request("python"), image: "docker.io/python" })).toBe(world.made[0]);
});

test("one that dies is replaced", async () => {
  world = new World();
  await world.pool.set(wanted("python", 1));
  await expect.poll(() => world.ready).toEqual([1]);
  world.made[0]!.die();
  await expect.poll(() => world.made.length).toBe(2);
  await expect.poll(() => world.ready).toEqual([1]);
  expect(world.made[0]!.discarded).toBe(true);
  expect(world.events).toContainEqual({
    type: "pool.lost",
    message: "it crashed",
    data: { image: "python" },
  });
  expect(world.pool.take(world.request("python"))).toBe(world.made[1]);
});

test("none is made while somebody's sandbox is started, and one that is being made is given up", async () => {
  world = new World();
  const hold = Promise.withResolvers<void>();
  world.held = hold.promise;
  await world.pool.set(wanted("python", 1));
  await expect.poll(() => world.attempts).toBe(1);
  const done = [world.pool.busy(), world.pool.busy()];
  await expect.poll(() => world.pool.list()[0]!.filling).toBe(false);
  world.held = undefined;
  done[0]!();
  done[0]!();
  await world.pool.set(wanted("python", 1));
  for (let turn = 0; turn < 20; turn++) await new Promise(setImmediate);
  expect(world.attempts).toBe(1);
  expect(world.made).toEqual([]);
  done[1]!();
  await expect.poll(() => world.ready).toEqual([1]);
  expect(world.events.filter(({ type }) => type === "pool.failed")).toEqual([]);
});

test("all together take no more than the budget: first one of each, and what was asked for before what is learned", async () => {
  world = new World();
  world.settings = { memoryMiB: 1024, cpuShare: 1, learn: true };
  for (let i = 0; i < 2; i++) world.pool.take(world.request("recent"));
  await world.pool.set(wanted("large", 3, { memoryMiB: 512 }));
  await world.pool.set(wanted("small", 2));
  const counts = () => Object.fromEntries(world.pool.list().map(({ image, ready }) => [image, ready]));
  await expect.poll(counts).toEqual({ recent: 0, large: 1, small: 2 });
  expect(world.pool.list().find(({ image }) => image === "large")).toMatchObject({
    problem: "the budget of pool.json is used up",
  });
  await world.pool.remove("large");
  await expect.poll(counts).toEqual({ recent: 2, small: 2 });
  expect(world.pool.list()).toContainEqual(
    expect.objectContaining({ image: "recent", learned: true, wanted: 2 }),
  );
  expect(world.made.find(({ memoryMiB }) => memoryMiB === 512)!.discarded).toBe(true);
});

test("a host that is short of memory gets no more of them", async () => {
  world = new World();
  world.roomMiB = 300;
  await world.pool.set(wanted("large", 1, { memoryMiB: 512 }));
  await expect.poll(() => world.pool.list()[0]!.problem).toBe("the host is short of memory");
  expect(world.attempts).toBe(0);
});

test("a budget of nothing is off: none is made, none given out, and nobody keeps the daemon", async () => {
  world = new World([wanted("python", 1)]);
  await expect.poll(() => world.ready).toEqual([1]);
  expect(world.pool.keepsDaemon()).toBe(true);
  for (const off of [{ memoryMiB: 0 }, { cpuShare: 0 }]) {
    world.settings = { memoryMiB: 4096, cpuShare: 1, learn: true, ...off };
    expect(world.pool.keepsDaemon()).toBe(false);
    expect(world.pool.take(world.request("python"))).toBeUndefined();
  }
  world.pool.busy()();
  await expect.poll(() => world.ready).toEqual([0]);
  expect(world.made[0]!.discarded).toBe(true);
});

test("an image that has moved on is not served from what waits", async () => {
  world = new World();
  await world.pool.set(wanted("python", 1));
  await expect.poll(() => world.ready).toEqual([1]);
  world.digests.set("python", "sha256:newer");
  expect(world.pool.take(world.request("python"))).toBeUndefined();
  expect(world.made[0]!.discarded).toBe(true);
  world.pool.busy()();
  await expect.poll(() => world.ready).toEqual([1]);
  expect(world.pool.take(world.request("python"))?.imageDigest).toBe("sha256:newer");
});

test("what cannot be made is told of and tried again; a name that nobody has is an error at once", async () => {
  world = new World();
  await expect(world.pool.set(wanted("nobody", 1))).rejects.toThrow("no such image");
  expect(world.rows).toEqual([]);
  world.failure = new Error("the disk is full");
  await world.pool.set(wanted("python", 1));
  await expect.poll(() => world.pool.list()[0]!.problem).toBe("the disk is full");
  expect(world.events).toContainEqual(
    expect.objectContaining({ type: "pool.failed", message: "the disk is full" }),
  );
  world.failure = undefined;
  await expect.poll(() => world.ready).toEqual([1]);
  expect(world.pool.list()[0]!.problem).toBeUndefined();
});

test("what was asked for is kept over restarts, until it is removed", async () => {
  world = new World();
  await world.pool.set(wanted("python", 1));
  await expect.poll(() => world.ready).toEqual([1]);
  await world.pool.close();
  expect(world.made[0]!.discarded).toBe(true);
  world = new World(world.rows);
  await expect.poll(() => world.ready).toEqual([1]);
  await world.pool.remove("python");
  expect(world.pool.list()).toEqual([]);
  expect(world.rows).toEqual([]);
  expect(world.made[0]!.discarded).toBe(true);
  await expect(world.pool.remove("python")).rejects.toMatchObject({ code: "not_found" });
});
