import { createHash } from "node:crypto";
import { createReadStream, createWriteStream } from "node:fs";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import { IMAGE, Workbench } from "../../bench/workbench.ts";
import { Sandbox } from "../../src/sdk/index.ts";
import { Memory } from "./memory.ts";
import { Promises, type Soak, seconds } from "./soak.ts";

/** Streams that are far larger than any memory that they pass: output that nobody reads, a huge file, very many files. */
export const files: Soak = { unread, large, many };

const GIB = 1024 ** 3;
/** By how much daemon and client may grow while a stream passes: windows, chunks on their way, and what waits for the collector. */
const GROWTH_MIB = 192;
/** The agent keeps at most 1 MiB per stream; Go's own heap is beside it. */
const AGENT_MIB = 24;
/** Two files of log, and base64 of what is no text. */
const KEPT_BYTES = 34 * 1024 * 1024;
const PIECE = 4 * 1024 * 1024;

/** A program prints `gib` GiB in pieces of 4 KiB and nobody listens. Then somebody asks. */
async function unread(gib = 1): Promise<string[]> {
  return withSandbox({}, async (sandbox, memory, promises) => {
    const count = gib * (GIB / 4096);
    const process = await sandbox.processes.start("dd", ["if=/dev/zero", "bs=4096", `count=${count}`]);
    const took = await seconds(async () => {
      const { exit } = await process.wait();
      promises.holds(exit?.exitCode === 0, `the program should end with 0, not ${JSON.stringify(exit)}`);
    });
    const seen = { stdout: 0, stderr: 0 };
    const lost = { stdout: 0, stderr: 0 };
    for await (const event of process.attach()) {
      if (event.type === "output") seen[event.stream] += event.data.length;
      if (event.type === "lost") lost[event.stream] += event.bytes;
    }
    const kept = seen.stdout + seen.stderr;
    console.log(
      `unread: ${gib} GiB printed in ${took.toFixed(0)} s (${rate(gib * GIB, took)}); ${kept} bytes kept, ${lost.stdout} told lost; ${await memory.told()}`,
    );
    const all = seen.stdout + lost.stdout;
    promises.holds(all === gib * GIB, `${gib * GIB} bytes should be kept or told lost, not ${all}`);
    promises.holds(kept <= KEPT_BYTES, `at most ${KEPT_BYTES} bytes should be kept, not ${kept}`);
  });
}

/** A file of `gib` GiB goes in and comes out again. */
async function large(gib = 10): Promise<string[]> {
  return withSandbox({ diskMiB: gib * 1024 + 2048 }, async (sandbox, memory, promises, folder) => {
    const [there, back] = [join(folder, "there"), join(folder, "back")];
    const written = createHash("sha256");
    await pipeline(pieces(gib * GIB, written), createWriteStream(there));
    const digest = written.digest("hex");
    const into = await seconds(() => sandbox.files.upload(there, "/root/large"));
    await rm(there);
    console.log(
      `large: ${gib} GiB in, in ${into.toFixed(0)} s (${rate(gib * GIB, into)}); ${await memory.told()}`,
    );
    const out = await seconds(() => sandbox.files.download("/root/large", back));
    console.log(
      `large: ${gib} GiB out, in ${out.toFixed(0)} s (${rate(gib * GIB, out)}); ${await memory.told()}`,
    );
    const came = createHash("sha256");
    await pipeline(createReadStream(back), came);
    promises.holds(came.digest("hex") === digest, "what came out should be what went in");
  });
}

/** `count` files of a few bytes, 100 to a folder, go in and come out again, each way as one stream. */
async function many(count = 100_000): Promise<string[]> {
  return withSandbox({}, async (sandbox, memory, promises, folder) => {
    const [there, back] = [join(folder, "there"), join(folder, "back")];
    for (let i = 0; i < count; i += 100) {
      await mkdir(join(there, folderOf(i)), { recursive: true });
      await Promise.all(
        Array.from({ length: Math.min(100, count - i) }, (_, k) =>
          writeFile(join(there, nameOf(i + k)), contentOf(i + k)),
        ),
      );
    }
    const into = await seconds(() => sandbox.files.upload(there, "/root/many"));
    console.log(
      `many: ${count} files in, in ${into.toFixed(0)} s (${(count / into).toFixed(0)} a second); ${await memory.told()}`,
    );
    const out = await seconds(() => sandbox.files.download("/root/many", back));
    console.log(
      `many: ${count} files out, in ${out.toFixed(0)} s (${(count / out).toFixed(0)} a second); ${await memory.told()}`,
    );
    let wrong = 0;
    for (let i = 0; i < count; i++) {
      const content = await readFile(join(back, nameOf(i)), "latin1").catch(() => undefined);
      if (content !== contentOf(i)) wrong++;
    }
    promises.holds(wrong === 0, `all ${count} files should come back as they went, ${wrong} did not`);
  });
}

async function withSandbox(
  spec: { diskMiB?: number },
  work: (sandbox: Sandbox, memory: Memory, promises: Promises, folder: string) => Promise<void>,
): Promise<string[]> {
  await using bench = await Workbench.open();
  const folder = await mkdtemp(join(tmpdir(), "msb-soak-"));
  try {
    const sandbox = await Sandbox.create({ image: IMAGE, connection: bench.connection, ...spec });
    const promises = new Promises();
    const memory = await Memory.watch(sandbox, bench.connection);
    await work(sandbox, memory, promises, folder);
    const { daemon, client, agent } = await memory.growth();
    promises.holds(
      daemon <= GROWTH_MIB,
      `the daemon should grow by at most ${GROWTH_MIB} MiB, not ${daemon}`,
    );
    promises.holds(
      client <= GROWTH_MIB,
      `this client should grow by at most ${GROWTH_MIB} MiB, not ${client}`,
    );
    promises.holds(agent <= AGENT_MIB, `the agent should need at most ${AGENT_MIB} MiB, not ${agent}`);
    return promises.broken;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** Bytes of which no two pieces are the same. */
function* pieces(bytes: number, hash: { update(data: Buffer): unknown }): Generator<Buffer> {
  for (let sent = 0; sent < bytes; sent += PIECE) {
    const piece = Buffer.alloc(Math.min(PIECE, bytes - sent), `${sent} and on, `);
    hash.update(piece);
    yield piece;
  }
}

const folderOf = (i: number) => `${Math.floor(i / 100)}`;
const nameOf = (i: number) => `${folderOf(i)}/${i}`;
const contentOf = (i: number) => `${i}\n`.repeat(i % 300);

function rate(bytes: number, seconds: number): string {
  return `${(bytes / 1e6 / seconds).toFixed(1)} MB/s`;
}
