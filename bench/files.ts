import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Files, Sandbox, Volume } from "../src/sdk/index.ts";
import { TAR_END, tarHeader, tarPadding } from "../src/tar/index.ts";
import type { Report } from "./report.ts";
import { summarize } from "./statistics.ts";
import { IMAGE, type Workbench } from "./workbench.ts";

/**
 * How fast do files go in and out? 100 MB in one file; 2,000 files of 4 KB one by one, and as one tar; on the root disk, a volume and a
 * folder of the host. All in turns in one run, so that the places compare. A round takes six minutes without KVM.
 */
const LARGE_BYTES = 100_000_000;
const SMALL_FILES = 2_000;
const SMALL_BYTES = 4_096;
const CHUNK = Buffer.alloc(250_000, "x");

const PLACES = { root: "/root", volume: "/volume", folder: "/folder" } as const;
type Place = keyof typeof PLACES;

export async function run(bench: Workbench, n = 1): Promise<Report> {
  const source = await mkdtemp(join(tmpdir(), "msb-bench-files-"));
  await Volume.create("bench-files", { connection: bench.connection });
  const sandbox = await Sandbox.create({
    image: IMAGE,
    connection: bench.connection,
    mounts: [
      { type: "volume", name: "bench-files", target: PLACES.volume },
      { type: "folder", source, target: PLACES.folder },
    ],
  });
  try {
    const taken = new Map<string, { work: Work; place: Place; ms: number[] }>();
    for (let i = 0; i < n; i++) {
      for (const place of Object.keys(PLACES) as Place[]) {
        const directory = `${PLACES[place]}/bench`;
        await sandbox.files.mkdir(directory);
        for (const work of WORKS) {
          const start = performance.now();
          await work.run(sandbox.files, directory);
          const ms = performance.now() - start;
          const key = `${work.name} ${place}`;
          if (!taken.has(key)) taken.set(key, { work, place, ms: [] });
          taken.get(key)!.ms.push(ms);
        }
        await sandbox.files.remove(directory, { recursive: true });
      }
    }
    const rows = WORKS.flatMap((work) =>
      (Object.keys(PLACES) as Place[]).map((place) => {
        const { ms } = taken.get(`${work.name} ${place}`)!;
        const { min, p50 } = summarize(ms);
        return [work.name, place, ms.length, min, p50, work.bytes / 1e3 / p50];
      }),
    );
    return {
      bench: "files",
      columns: ["", "on", "n", "min ms", "p50 ms", "MB/s"],
      rows,
      verdicts: [],
      details: { taken: [...taken.values()].map(({ work, place, ms }) => ({ work: work.name, place, ms })) },
    };
  } finally {
    await sandbox.remove({ force: true });
    await Volume.remove("bench-files", { connection: bench.connection });
    await rm(source, { recursive: true });
  }
}

interface Work {
  name: string;
  bytes: number;
  run(files: Files, directory: string): Promise<unknown>;
}

const SMALL_TOTAL = SMALL_FILES * SMALL_BYTES;
const small = Buffer.alloc(SMALL_BYTES, "y");

/** In this order: what is read was written by the one before. */
const WORKS: readonly Work[] = [
  {
    name: "write 100 MB",
    bytes: LARGE_BYTES,
    run: (files, directory) => files.write(`${directory}/large`, largeFile()),
  },
  {
    name: "read 100 MB",
    bytes: LARGE_BYTES,
    run: async (files, directory) => expectBytes(await files.readStream(`${directory}/large`), LARGE_BYTES),
  },
  {
    name: "write 2,000 × 4 KB, one by one",
    bytes: SMALL_TOTAL,
    run: async (files, directory) => {
      await files.mkdir(`${directory}/many`);
      for (let i = 0; i < SMALL_FILES; i++) await files.write(`${directory}/many/${i}`, small);
    },
  },
  {
    name: "read 2,000 × 4 KB, one by one",
    bytes: SMALL_TOTAL,
    run: async (files, directory) => {
      for (let i = 0; i < SMALL_FILES; i++) await files.read(`${directory}/many/${i}`);
    },
  },
  {
    name: "write 2,000 × 4 KB, as one tar",
    bytes: SMALL_TOTAL,
    run: (files, directory) => files.extract(directory, smallFiles()),
  },
  {
    name: "read 2,000 × 4 KB, as one tar",
    bytes: SMALL_TOTAL,
    run: async (files, directory) => {
      for await (const _ of await files.archive(`${directory}/tar`));
    },
  },
];

async function* largeFile(): AsyncGenerator<Buffer> {
  for (let sent = 0; sent < LARGE_BYTES; sent += CHUNK.length) yield CHUNK;
}

async function* smallFiles(): AsyncGenerator<Buffer> {
  const owner = { uid: 0, gid: 0, mtime: [0, 0] as [number, number] };
  yield tarHeader({ type: "directory", path: "tar", mode: 0o755, ...owner });
  for (let i = 0; i < SMALL_FILES; i++) {
    yield tarHeader({ type: "file", path: `tar/${i}`, mode: 0o644, size: SMALL_BYTES, ...owner });
    yield small;
    yield tarPadding(SMALL_BYTES);
  }
  yield TAR_END;
}

async function expectBytes(stream: AsyncIterable<Buffer>, expected: number): Promise<void> {
  let bytes = 0;
  for await (const chunk of stream) bytes += chunk.length;
  if (bytes !== expected) throw new Error(`${bytes} bytes came, ${expected} were written`);
}
