import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { chmod, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** What the jail's probe is to look for (test/jail-probe). */
export interface Targets {
  TCP: string;
  Abstract: string;
  Socket: string;
  Pid: number;
  Secrets: string[];
  ReadOnly: string[];
  Writable: string;
  FileBytes: number;
  AddressSpace: number;
  Descriptors: number;
}

/** What the probe found. */
export interface Report {
  /** By attempt: `null` if it went through, else why not. */
  attempts: Record<string, string | null>;
  uid: number;
  gid: number;
  groups: number[] | null;
  pid: number;
  hostname: string;
  env: string[];
  fds: number[];
  root: string[];
  interfaces: string[];
  processes: number[];
}

/**
 * A host worth breaking out to: listeners, a process, a file that everybody may read, and the folders that a machine is
 * given. All of it is open to everybody, so that only the jail can be what keeps the probe away.
 */
export class JailHost implements AsyncDisposable {
  readonly folder: string;
  readonly targets: Targets;
  private readonly servers: Server[];
  private readonly bystander: ChildProcess;

  private constructor(folder: string, targets: Targets, servers: Server[], bystander: ChildProcess) {
    this.folder = folder;
    this.targets = targets;
    this.servers = servers;
    this.bystander = bystander;
  }

  static async open(): Promise<JailHost> {
    const folder = await mkdtemp(join(tmpdir(), "msb-jail-"));
    await chmod(folder, 0o755);
    for (const name of ["run", "state", "disk"]) {
      await mkdir(join(folder, name));
      await chmod(join(folder, name), 0o777);
      await writeFile(join(folder, name, "file"), "shared", { mode: 0o666 });
      await chmod(join(folder, name, "file"), 0o666);
    }
    const secret = join(folder, "secret");
    await writeFile(secret, "secret", { mode: 0o644 });
    const abstract = `msb-jail-${process.pid}`;
    const socket = join(folder, "socket");
    const servers = await Promise.all([
      listen({ port: 0, host: "127.0.0.1" }),
      listen({ path: `\0${abstract}` }),
      listen({ path: socket }),
    ]);
    await chmod(socket, 0o777);
    const bystander = spawn("sleep", ["1000"], { stdio: "ignore" });
    await once(bystander, "spawn");
    const address = servers[0]!.address() as { port: number };
    return new JailHost(
      folder,
      {
        TCP: `127.0.0.1:${address.port}`,
        Abstract: abstract,
        Socket: socket,
        Pid: bystander.pid!,
        Secrets: [secret],
        ReadOnly: [join(folder, "state"), join(folder, "disk")],
        Writable: join(folder, "run"),
        FileBytes: 2 * 1024 ** 2,
        AddressSpace: 16 * 1024 ** 3,
        Descriptors: 2_000,
      },
      servers,
      bystander,
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.bystander.kill("SIGKILL");
    for (const server of this.servers) await new Promise((resolve) => server.close(resolve));
    await rm(this.folder, { recursive: true, force: true });
  }
}

async function listen(where: { port: number; host: string } | { path: string }): Promise<Server> {
  const server = createServer((socket) => socket.destroy());
  server.listen(where);
  await once(server, "listening");
  return server;
}
