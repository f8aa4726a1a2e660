import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { PassThrough, Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { SandboxError } from "../contract/errors.ts";

/**
 * Packs files with the host's own `tar`. It knows what a program of ours would have to learn anew: hard links, holes, extended
 * attributes, devices, names that are not UTF-8. Which files is said by a list of names, so that nothing depends on how it recurses.
 */

export interface PackOptions {
  /** Folder that the names are relative to. */
  folder: string;
  /** `kept`: owners and extended attributes as they are. `root`: all belongs to 0:0 and has none. */
  owners: "kept" | "root";
}

type Dialect = "gnu" | "bsd";

/** How much of its complaints is kept. */
const MAX_COMPLAINT = 4096;
/** A `tar` that does not even tell its version in this time hangs. */
const VERSION_DEADLINE_MS = 10_000;

/**
 * @param names relative to the folder, as bytes; an error of theirs becomes the stream's
 * @returns a PAX tar, uncompressed. It ends only if `tar` was content; destroying it ends `tar`.
 * @throws `unavailable` if there is no `tar` that can do it
 */
export async function packWithTar(names: AsyncIterable<Buffer>, options: PackOptions): Promise<Readable> {
  const args = argumentsOf(await dialectOf(), options);
  const child = spawn("tar", args, { env: environment(), stdio: ["pipe", "pipe", "pipe"] });
  await spawned(child);
  const output = new PassThrough({ highWaterMark: 256 * 1024 });
  let complaint = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    complaint = (complaint + text).slice(0, MAX_COMPLAINT);
  });
  let failure: unknown;
  const naming = pipeline(Readable.from(terminated(names)), child.stdin).catch((error) => {
    // A `tar` that ended early says itself why.
    if (error.code !== "EPIPE" && error.code !== "ERR_STREAM_PREMATURE_CLOSE") failure = error;
    child.kill();
  });
  child.stdout.pipe(output, { end: false });
  child.once("close", async (code) => {
    await naming;
    if (failure === undefined && code === 0) output.end();
    else output.destroy((failure ?? packingError(options.folder, code, complaint)) as Error);
  });
  output.once("close", () => child.kill());
  return output;
}

async function* terminated(names: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  for await (const name of names) yield Buffer.concat([name, Buffer.of(0)]);
}

function packingError(folder: string, code: number | null, complaint: string): SandboxError {
  const said = complaint
    .split("\n")
    .map((line) => line.replace(/\p{Cc}/gu, "?").trim())
    .filter((line) => line !== "" && !line.includes("Exiting with failure status"));
  // GNU tar's 1: a file was changed while it was read.
  const what = code === 1 ? "it changed meanwhile" : `tar ended with ${code}`;
  return new SandboxError("invalid_argument", `cannot read all of ${folder}: ${said[0] ?? what}`, {
    details: { folder, tar: said },
  });
}

function argumentsOf(dialect: Dialect, { folder, owners }: PackOptions): string[] {
  if (dialect === "gnu") {
    return [
      ...["--create", "--file=-", "--format=posix", "--sparse", "--numeric-owner"],
      // No times but mtime, and no process number in names: the same files make the same tar.
      "--pax-option=exthdr.name=%d/PaxHeaders/%f,delete=atime,delete=ctime",
      ...(owners === "root" ? ["--owner=0", "--group=0"] : ["--xattrs", "--xattrs-exclude=security.selinux"]),
      `--directory=${folder}`,
      ...["--no-recursion", "--null", "--files-from=-"],
    ];
  }
  return [
    ...["-c", "-f", "-", "--format", "pax", "--numeric-owner"],
    ...(owners === "root" ? ["--uid", "0", "--gid", "0", "--no-xattrs"] : []),
    ...["-C", folder, "--no-recursion", "--null", "-T", "-"],
  ];
}

/** Without what would change its ways; macOS's own metadata would become files. */
function environment(): NodeJS.ProcessEnv {
  const { TAR_OPTIONS: _, ...rest } = process.env;
  return { ...rest, COPYFILE_DISABLE: "1" };
}

async function dialectOf(): Promise<Dialect> {
  const child = spawn("tar", ["--version"], {
    env: environment(),
    stdio: ["ignore", "pipe", "ignore"],
    timeout: VERSION_DEADLINE_MS,
  });
  await spawned(child);
  let version = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    version = (version + text).slice(0, 200);
  });
  await once(child, "close");
  if (version.includes("GNU tar")) return "gnu";
  if (version.includes("bsdtar")) return "bsd";
  throw new SandboxError("unavailable", "the tar program of this machine is neither GNU tar nor bsdtar", {
    hint: "apt install tar",
  });
}

async function spawned(child: ChildProcess): Promise<void> {
  try {
    await once(child, "spawn");
  } catch (cause) {
    throw new SandboxError("unavailable", "there is no tar program on this machine to pack the folder with", {
      hint: "apt install tar",
      cause,
    });
  }
}
