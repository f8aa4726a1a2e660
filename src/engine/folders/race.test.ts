import { spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { Folder } from "./folder.ts";
import { Opcode, ROOT_ID } from "./fuse-protocol.ts";
import { Kernel, u32 } from "./testing/kernel.ts";

/** Makes of `d` a directory, a link out of the folder, and of `d/f` a file and a link, as fast as it can. */
const SWAPPER = `
const fs = require("node:fs");
const [source, outside] = process.argv.slice(1);
process.chdir(source);
fs.symlinkSync(outside, "link");
fs.symlinkSync(outside + "/f", "real/link");
process.stdout.write("ready");
for (;;) {
  fs.renameSync("d", "real-again"); fs.renameSync("link", "d");
  fs.renameSync("d", "link"); fs.renameSync("real-again", "d");
  try { fs.renameSync("d/f", "d/file"); fs.renameSync("d/link", "d/f"); fs.renameSync("d/f", "d/link"); fs.renameSync("d/file", "d/f"); } catch {}
}`;

test("whoever swaps folders and links while it is at work cannot lead it out", async () => {
  const base = mkdtempSync(join(tmpdir(), "race-"));
  const source = join(base, "source");
  const outside = join(base, "outside");
  for (const folder of [source, outside, join(source, "real"), join(source, "d")])
    mkdirSync(folder, { recursive: true });
  writeFileSync(join(outside, "f"), "outside");
  writeFileSync(join(source, "d/f"), "inside");
  const folder = new Folder({
    source,
    readOnly: false,
    owner: { uid: 0, gid: 0 },
    quotaBytes: Infinity,
    journal: join(base, "journal"),
  });
  const swapper = spawn(process.execPath, ["-e", SWAPPER.replace("real/link", "d/link"), source, outside]);
  try {
    await new Promise((resolve) => swapper.stdout.once("data", resolve));
    const kernel = new Kernel(folder);
    const read = new Map<string, number>();
    let linkSeen = 0;
    const deadline = Date.now() + 4_000;
    for (let i = 0; Date.now() < deadline; i++) {
      try {
        const d = await kernel.lookup("d");
        if (typeof (await kernel.ask(Opcode.readlink, d)) !== "number") linkSeen += 1;
        const f = await kernel.lookup("f", d);
        const handle = await kernel.open(f, 2);
        const text = await kernel.read(f, handle);
        read.set(text, (read.get(text) ?? 0) + 1);
        await kernel.write(f, handle, "inside");
        await kernel.ask(Opcode.release, f, handle, Buffer.alloc(16));
        await kernel.ask(Opcode.mkdir, d, u32(0o755), u32(0), `made-${i}`);
        await kernel.ask(Opcode.rmdir, d, `made-${i}`);
        await kernel.ask(Opcode.rename, ROOT_ID, d, "nothing", "f");
      } catch (error) {
        if (!/errno/.test(String(error))) throw error;
      }
    }
    // It was a race: both sides were seen, and of the files only the one inside.
    expect(linkSeen).toBeGreaterThan(0);
    expect([...read.keys()]).toEqual(["inside"]);
    expect(readFileSync(join(outside, "f"), "utf8")).toBe("outside");
    expect(readdirSync(outside)).toEqual(["f"]);
  } finally {
    swapper.kill("SIGKILL");
    folder.close();
    rmSync(base, { recursive: true, force: true, maxRetries: 3 });
  }
});
