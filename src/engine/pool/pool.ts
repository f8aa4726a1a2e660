import { type PoolInfo, type PoolRequest, SandboxError } from "../../contract/index.ts";
import type { OperationContext, Pools } from "../engine.ts";
import type { WarmRequest, WarmShape } from "../sandbox/index.ts";
import type { EventLog, PoolTable } from "../store/index.ts";
import { hasRoomFor } from "./free-memory.ts";
import { RecentUse } from "./recent-use.ts";
import type { PoolSettings } from "./settings.ts";
import { keyOf, type PoolShape, sameShape } from "./shape.ts";
import { allot, type PooledVm, Shelf } from "./shelf.ts";

/**
 * The VMs that wait. One is made at a time, once nobody's sandbox has been started for a moment; a start that comes meanwhile has the one
 * that is being made given up. What they may take has bounds (`pool.json`), and a host that is short of memory gets no more of them.
 */

/** A command that a client runs in what it has just started is done by then, most often. */
const QUIET_MS = 250;
/** What failed is not tried again at once. */
const RETRY_MS = 10_000;
/** Nor is one made anew that has died by itself. */
const DEATH_MS = 500;
/** Memory gets free, use is no longer recent, and files of settings change, without anybody saying so. */
const LOOK_AGAIN_MS = 15_000;

/** Where VMs come from. */
export interface PoolSource<Vm extends PooledVm, Image extends { digest: string }> {
  /** The image of a name, fetched if need be. */
  image(name: string, operation: OperationContext): Promise<Image>;
  warmUp(image: Image, shape: WarmShape, signal: AbortSignal): Promise<Vm>;
}

export interface PoolOptions<Vm extends PooledVm, Image extends { digest: string }> {
  source: PoolSource<Vm, Image>;
  table: Pick<PoolTable, "put" | "delete" | "list">;
  events: Pick<EventLog, "add">;
  /** @throws `invalid_argument` if what its owner has written is not valid */
  settings(): PoolSettings;
  /** Default: what the host says. */
  hasRoomFor?(memoryMiB: number): boolean;
  quietMs?: number;
  retryMs?: number;
}

const OFF: PoolSettings = { memoryMiB: 0, cpuShare: 0, learn: false };

export class Pool<Vm extends PooledVm, Image extends { digest: string }> implements Pools {
  readonly #options: PoolOptions<Vm, Image> & { quietMs: number; retryMs: number };
  readonly #hasRoomFor: (memoryMiB: number) => boolean;
  readonly #shelves = new Map<string, Shelf<Vm>>();
  readonly #recent = new RecentUse();
  readonly #discards = new Set<Promise<void>>();
  #busy = 0;
  /** The VMM has time for itself until then. */
  #notBefore = 0;
  #filling: { shelf: Shelf<Vm>; abort: AbortController; done: Promise<void> } | undefined;
  #timer: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(options: PoolOptions<Vm, Image>) {
    this.#options = { quietMs: QUIET_MS, retryMs: RETRY_MS, ...options };
    this.#hasRoomFor = options.hasRoomFor ?? hasRoomFor;
    for (const { count, ...shape } of options.table.list()) this.#shelfOf(shape).asked = count;
    this.#lookAgain(this.#options.quietMs);
  }

  list(): PoolInfo[] {
    return [...this.#shelves.values()].map((shelf) => shelf.info(this.#filling?.shelf === shelf));
  }

  async set({ count, ...shape }: PoolRequest, operation: OperationContext = {}): Promise<PoolInfo> {
    this.#options.settings();
    // A name that nobody has is told at once.
    const { digest } = await this.#options.source.image(shape.image, operation);
    this.#options.table.put({ ...shape, count });
    const shelf = this.#shelfOf(shape);
    shelf.asked = count;
    shelf.notBefore = 0;
    this.#isOf(shelf, digest);
    this.#options.events.add({ type: "pool.set", message: shape.image, data: { count } });
    this.#lookAgain(this.#options.quietMs);
    return shelf.info(false);
  }

  async remove(image: string): Promise<void> {
    const found = [...this.#shelves.values()].filter(
      ({ shape, asked }) => shape.image === image && asked > 0,
    );
    if (found.length === 0)
      throw new SandboxError("not_found", `there is no pool of '${image}'`, {
        hint: "'msb pool ls' lists those that there are.",
      });
    for (const shelf of found) {
      this.#options.table.delete(shelf.shape);
      shelf.asked = 0;
      if (this.#filling?.shelf === shelf) this.#filling.abort.abort();
    }
    this.#options.events.add({ type: "pool.removed", message: image });
    this.#trim(this.#settings());
    this.#lookAgain(0);
    await Promise.all(this.#discards);
  }

  keepsDaemon(): boolean {
    return !isOff(this.#settings()) && [...this.#shelves.values()].some(({ asked }) => asked > 0);
  }

  take({ image, digest, shape }: WarmRequest): Vm | undefined {
    const settings = this.#settings();
    if (isOff(settings)) return undefined;
    if (settings.learn) this.#recent.note({ image, ...shape }, performance.now());
    const fits = [...this.#shelves.values()].filter((shelf) => sameShape(shelf.shape, shape));
    for (const shelf of fits) if (shelf.shape.image === image) this.#isOf(shelf, digest);
    const named = fits.filter((shelf) => shelf.digest === digest);
    const shelf = named.find(({ ready }) => ready.length > 0) ?? named[0];
    const vm = shelf?.ready.shift();
    if (shelf !== undefined && vm === undefined) shelf.misses++;
    if (shelf !== undefined && vm !== undefined) shelf.hits++;
    return vm;
  }

  failed({ image }: WarmRequest, reason: string): void {
    this.#options.events.add({ type: "pool.claim-failed", message: reason, data: { image } });
  }

  busy(): () => void {
    this.#busy++;
    this.#filling?.abort.abort();
    let ended = false;
    return () => {
      if (ended) return;
      ended = true;
      if (--this.#busy === 0) this.#lookAgain(this.#options.quietMs);
    };
  }

  /** Ends them all. */
  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#timer);
    this.#filling?.abort.abort();
    await this.#filling?.done;
    for (const shelf of this.#shelves.values()) for (const vm of shelf.takeOut(() => true)) this.#discard(vm);
    await Promise.all(this.#discards);
  }

  #lookAgain(afterMs: number): void {
    clearTimeout(this.#timer);
    if (!this.#closed) this.#timer = setTimeout(() => this.#look(), afterMs).unref();
  }

  /** Puts away what is too much, and makes one that is missing. */
  #look(): void {
    if (this.#filling !== undefined || this.#busy > 0) return;
    const settings = this.#settings();
    const now = performance.now();
    const allotted = this.#trim(settings);
    const short = [...allotted].filter(([shelf, count]) => shelf.ready.length < count);
    const due = short
      .filter(([{ notBefore }]) => notBefore <= now)
      .sort(([a], [b]) => Number(b.asked > 0) - Number(a.asked > 0) || a.ready.length - b.ready.length);
    const next = due[0]?.[0];
    if (next !== undefined && now < this.#notBefore) {
      this.#lookAgain(this.#notBefore - now);
    } else if (next !== undefined && this.#hasRoomFor(next.shape.memoryMiB)) {
      this.#fill(next, settings);
    } else {
      if (next !== undefined) next.problem = "the host is short of memory";
      const waits = short.map(([{ notBefore }]) => notBefore - now).filter((ms) => ms > 0);
      this.#lookAgain(Math.min(LOOK_AGAIN_MS, ...waits));
    }
  }

  #trim({ memoryMiB, cpuShare, learn }: PoolSettings): Map<Shelf<Vm>, number> {
    const recent = learn ? this.#recent.wanted(performance.now()) : [];
    for (const shelf of this.#shelves.values()) shelf.learned = 0;
    for (const { shape, count } of recent) this.#shelfOf(shape).learned = count;
    const allotted = allot([...this.#shelves.values()], cpuShare === 0 ? 0 : memoryMiB);
    for (const [shelf, count] of allotted) {
      for (const vm of shelf.takeOut((_, place) => place >= count)) this.#discard(vm);
      if (count < shelf.wanted) shelf.problem = "the budget of pool.json is used up";
      else if (shelf.ready.length >= count) shelf.problem = undefined;
      if (shelf.wanted === 0) this.#shelves.delete(keyOf(shelf.shape));
    }
    return allotted;
  }

  #fill(shelf: Shelf<Vm>, { cpuShare }: PoolSettings): void {
    const abort = new AbortController();
    const began = performance.now();
    const make = async () => {
      try {
        await this.#make(shelf, abort.signal);
        shelf.problem = undefined;
      } catch (error) {
        if (!abort.signal.aborted) this.#tellOf(shelf, SandboxError.from(error).message);
      } finally {
        this.#filling = undefined;
        this.#notBefore = performance.now() + (performance.now() - began) * (1 / cpuShare - 1);
        if (this.#busy === 0) this.#lookAgain(abort.signal.aborted ? this.#options.quietMs : 0);
      }
    };
    this.#filling = { shelf, abort, done: Promise.resolve() };
    this.#filling.done = make();
  }

  async #make(shelf: Shelf<Vm>, signal: AbortSignal): Promise<void> {
    const { source, events } = this.#options;
    const image = await source.image(shelf.shape.image, { signal });
    this.#isOf(shelf, image.digest);
    const vm = await source.warmUp(image, shelf.shape, signal);
    const wanted = this.#shelves.get(keyOf(shelf.shape)) === shelf && shelf.digest === vm.imageDigest;
    if (signal.aborted || !wanted) {
      this.#discard(vm);
      return;
    }
    shelf.ready.push(vm);
    void vm.gone.then((reason) => {
      if (shelf.takeOut((each) => each === vm).length === 0) return;
      this.#discard(vm);
      events.add({ type: "pool.lost", message: reason, data: { image: shelf.shape.image } });
      shelf.notBefore = performance.now() + DEATH_MS;
      if (this.#busy === 0) this.#lookAgain(DEATH_MS);
    });
  }

  #tellOf(shelf: Shelf<Vm>, problem: string): void {
    shelf.problem = problem;
    shelf.notBefore = performance.now() + this.#options.retryMs;
    this.#options.events.add({ type: "pool.failed", message: problem, data: { image: shelf.shape.image } });
  }

  /** The image's name means this one by now: VMs of another are of no use. */
  #isOf(shelf: Shelf<Vm>, digest: string): void {
    if (shelf.digest === digest) return;
    shelf.digest = digest;
    for (const vm of shelf.takeOut(({ imageDigest }) => imageDigest !== digest)) this.#discard(vm);
  }

  #discard(vm: Vm): void {
    const discarded: Promise<void> = vm
      .discard()
      .catch(() => {})
      .finally(() => this.#discards.delete(discarded));
    this.#discards.add(discarded);
  }

  #shelfOf({ image, cpus, memoryMiB, network }: PoolShape): Shelf<Vm> {
    const shape = { image, cpus, memoryMiB, network };
    const key = keyOf(shape);
    const shelf = this.#shelves.get(key) ?? new Shelf<Vm>(shape, 0);
    this.#shelves.set(key, shelf);
    return shelf;
  }

  /** A file that is not valid counts as none are wanted; whoever asks for some is told. */
  #settings(): PoolSettings {
    try {
      return this.#options.settings();
    } catch {
      return OFF;
    }
  }
}

function isOff({ memoryMiB, cpuShare }: PoolSettings): boolean {
  return memoryMiB === 0 || cpuShare === 0;
}
