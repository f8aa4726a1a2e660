/** What the image store takes on disk, and how what nothing refers to is freed. */

import type { ConfigFiles } from "./configs.ts";
import type { Digest } from "./digest.ts";
import type { RootDisks } from "./erofs/root-disks.ts";
import type { Holds } from "./holds.ts";
import type { LayerStore } from "./layer/layer-store.ts";
import { FileImageNames, type ImageNames } from "./names.ts";
import type { Quota } from "./quota.ts";

/** The store, taken apart. */
export interface StoreParts {
  names: ImageNames;
  layers: LayerStore;
  configs: ConfigFiles;
  disks: RootDisks;
  holds: Holds;
  quota: Quota;
  /** Layers that others need, whatever images there are. */
  otherLayers(): Promise<Iterable<Digest>>;
}

export interface SweepReport {
  images: number;
  layers: number;
  disks: number;
  freedBytes: number;
}

/** The caller sees to it that no image gets a name meanwhile. */
export async function sweep(parts: StoreParts, inUse: ReadonlySet<Digest>): Promise<SweepReport> {
  const { names, layers, configs, disks, holds, quota } = parts;
  const report: SweepReport = { images: 0, layers: 0, disks: 0, freedBytes: 0 };
  if (names instanceof FileImageNames) await names.sweep();
  await configs.sweep();
  const there = new Set(await configs.list());
  const named = new Set<Digest>();
  for (const { name, digest } of await names.list()) {
    // Of an image that an older version kept in another form only the name is left.
    if (there.has(digest)) named.add(digest);
    else await names.delete(name);
  }
  const isKept = (digest: Digest) => inUse.has(digest) || named.has(digest) || holds.has(digest);

  const needed = new Set<Digest>(await parts.otherLayers());
  for (const digest of there) {
    if (isKept(digest)) {
      const config = await configs.get(digest).catch(() => undefined);
      for (const layer of config?.layers ?? []) needed.add(layer);
      continue;
    }
    await configs.remove(digest);
    report.images++;
  }
  for (const digest of await disks.list()) {
    if (isKept(digest)) continue;
    report.freedBytes += await disks.remove(digest);
    report.disks++;
  }
  const freed = await layers.sweep(needed);
  report.layers = freed.layers;
  report.freedBytes += freed.bytes;
  quota.free(report.freedBytes);
  return report;
}

/** Bytes on disk of all layers and of the disks' own files. */
export async function measure({ layers, disks }: Pick<StoreParts, "layers" | "disks">): Promise<number> {
  const ofLayers = (await layers.list()).reduce((sum, { bytes }) => sum + bytes, 0);
  const ofDisks = await Promise.all((await disks.list()).map((image) => disks.ownBytes(image)));
  return ofDisks.reduce((sum, bytes) => sum + bytes, ofLayers);
}

/** Bytes on disk. */
export interface StoreUsage {
  images: {
    count: number;
    bytes: number /** Of images that no sandbox stands on. */;
    reclaimableBytes: number;
  };
  layers: { count: number; bytes: number };
  /** Of layers that only others than images need. */
  other: { count: number; bytes: number };
  totalBytes: number;
  quotaBytes: number | undefined;
}

export async function usageOf(parts: StoreParts, inUse: ReadonlySet<Digest>): Promise<StoreUsage> {
  const { layers, configs, disks, quota } = parts;
  const bytesOf = new Map((await layers.list()).map(({ digest, bytes }) => [digest, bytes]));
  const others = new Set<Digest>(await parts.otherLayers());
  const images = new Set<Digest>();
  const used = new Set<Digest>();
  let count = 0;
  let ownBytes = 0;
  let usedOwnBytes = 0;
  for (const digest of await configs.list()) {
    const config = await configs.get(digest).catch(() => undefined);
    if (config === undefined) continue;
    count++;
    const own = await disks.ownBytes(digest);
    ownBytes += own;
    if (inUse.has(digest)) usedOwnBytes += own;
    for (const layer of config.layers) {
      images.add(layer);
      if (inUse.has(digest)) used.add(layer);
    }
  }
  const sum = (set: Iterable<Digest>) =>
    [...set].reduce((total, layer) => total + (bytesOf.get(layer) ?? 0), 0);
  const imageBytes = sum(images) + ownBytes;
  const kept = sum(new Set([...used, ...[...others].filter((layer) => images.has(layer))])) + usedOwnBytes;
  const onlyOthers = [...others].filter((layer) => !images.has(layer));
  return {
    images: { count, bytes: imageBytes, reclaimableBytes: imageBytes - kept },
    layers: { count: bytesOf.size, bytes: sum(bytesOf.keys()) },
    other: { count: onlyOthers.length, bytes: sum(onlyOthers) },
    totalBytes: sum(bytesOf.keys()) + ownBytes,
    quotaBytes: quota.limitBytes,
  };
}
