import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { openCaptureFile } from "./capture-file.ts";

/** Makes of `d` a folder and a link out, as fast as it can: as a sandbox could that has the folder above mounted. */
const SWAPPER = `
const fs = require("node:fs");
const [folder, outside] = process.argv.slice(1);
process.chdir(folder);
fs.symlinkSync(outside, "link");
process.stdout.write("ready");
for (;;) { fs.renameSync("d", "real"); fs.renameSync("link", "d"); fs.renameSync("d", "link"); fs.renameSync("real", "d"); }`;

test.runIf(process.platform === "linux")(
  "whoever swaps the folder of a capture for a link cannot have another file written over",
  async () => {
    const base = await mkdtemp(join(tmpdir(), "msb-capture-"));
    const [folder, outside] = [join(base, "mounted"), join(base, "outside")];
    await mkdir(join(folder, "d"), { recursive: true });
    await mkdir(outside);
    await writeFile(join(outside, "a.pcap"), "outside");
    const swapper = spawn(process.execPath, ["-e", SWAPPER, folder, outside]);
    try {
      await once(swapper.stdout, "data");
      const outcomes = new Set<string>();
      // At least for this long, and until it has gone both ways: it was a race.
      const [enough, deadline] = [Date.now() + 2_000, Date.now() + 25_000];
      while (Date.now() < enough || (outcomes.size < 2 && Date.now() < deadline)) {
        const opened = await openCaptureFile(join(folder, "d/a.pcap"), false).catch(() => undefined);
        outcomes.add(opened === undefined ? "refused" : "opened");
        await opened?.handle.close();
      }
      expect([...outcomes].sort()).toEqual(["opened", "refused"]);
      expect(await readFile(join(outside, "a.pcap"), "utf8")).toBe("outside");
    } finally {
      swapper.kill("SIGKILL");
      await once(swapper, "close");
      await rm(base, { recursive: true });
    }
  },
);
