import { type ChildProcess, spawn } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { makeCertificate } from "./certificate.ts";
import { run } from "./tools.ts";

/**
 * Debian's docker-registry, the reference registry, for tests: on a free port of the loopback, with a folder of its own. The
 * service that the package brings is neither used nor touched.
 */

export interface RegistryOptions {
  /** Name and password of the only user. Default: everybody may do everything. */
  user?: { name: string; password: string };
  /** Speaks TLS, with a certificate of an authority that nobody knows. Default: plain HTTP. */
  tls?: boolean;
}

/** One line of its access log. */
export interface ServedRequest {
  method: string;
  path: string;
  status: number;
  /** Of the answer's body. */
  bytes: number;
}

const READY_MS = 20_000;
const ACCESS = /"(\w+) (\S+) HTTP\/[\d.]+" (\d+) (\d+) /;
const LISTENING = /listening on (127\.0\.0\.1:\d+)/;

export class RegistryProcess implements AsyncDisposable {
  /** As references have it: `127.0.0.1:34567`. */
  readonly host: string;
  /** Path of the authority's certificate, with TLS. */
  readonly ca: string | undefined;
  /** What it has been asked, oldest first. May be emptied. */
  readonly requests: ServedRequest[];
  readonly #folder: string;
  readonly #child: ChildProcess;
  readonly #options: RegistryOptions;

  private constructor(
    started: { host: string; child: ChildProcess; requests: ServedRequest[] },
    at: { folder: string; ca: string | undefined; options: RegistryOptions },
  ) {
    this.host = started.host;
    this.requests = started.requests;
    this.ca = at.ca;
    this.#folder = at.folder;
    this.#child = started.child;
    this.#options = at.options;
  }

  static async start(options: RegistryOptions = {}): Promise<RegistryProcess> {
    const folder = await mkdtemp(join(tmpdir(), "msb-registry-"));
    try {
      const { user, tls } = options;
      const certificate = tls ? await makeCertificate(folder) : undefined;
      const config = {
        version: "0.1",
        log: { level: "info" },
        storage: {
          filesystem: { rootdirectory: join(folder, "data") },
          delete: { enabled: true },
          maintenance: { uploadpurging: { enabled: false } },
        },
        // Port 0: the system gives one that is free, and the log says which.
        http: {
          addr: "127.0.0.1:0",
          ...(certificate && { tls: { certificate: certificate.certificate, key: certificate.key } }),
        },
        ...(user && { auth: { htpasswd: { realm: "tests", path: join(folder, "htpasswd") } } }),
      };
      if (user) {
        // The lowest cost of bcrypt: it is paid for with every request.
        const line = await run("htpasswd", ["-nbB", "-C", "4", user.name, user.password]);
        await writeFile(join(folder, "htpasswd"), line.trim());
      }
      await writeFile(join(folder, "config.yml"), JSON.stringify(config)); // JSON is YAML
      const started = await serve(join(folder, "config.yml"));
      return new RegistryProcess(started, { folder, ca: certificate?.ca, options });
    } catch (error) {
      await rm(folder, { recursive: true, force: true });
      throw error;
    }
  }

  /** `docker://` name of a repository here, as skopeo has it. */
  url(repository: string): string {
    return `docker://${this.host}/${repository}`;
  }

  /** What skopeo has to be told to speak to this registry: `src`, `dest`, or nothing for commands with one end. */
  skopeoFlags(end: "src" | "dest" | ""): string[] {
    const dash = end === "" ? "" : `${end}-`;
    const { user } = this.#options;
    return [`--${dash}tls-verify=false`, ...(user ? [`--${dash}creds=${user.name}:${user.password}`] : [])];
  }

  /** Settings by which our client reaches it, for `images.json`. */
  get settings(): Record<string, object> {
    return { [this.host]: this.ca === undefined ? {} : { ca: this.ca } };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await killed(this.#child);
    await rm(this.#folder, { recursive: true, force: true });
  }
}

async function serve(config: string) {
  // Its own environment could change its configuration (REGISTRY_…).
  const env = { PATH: process.env.PATH, OTEL_TRACES_EXPORTER: "none" };
  const child = spawn("docker-registry", ["serve", config], { stdio: ["ignore", "pipe", "pipe"], env });
  const requests: ServedRequest[] = [];
  const words: string[] = [];
  const { promise: host, resolve, reject } = Promise.withResolvers<string>();
  const onLine = (line: string) => {
    const [, method, path, status, bytes] = ACCESS.exec(line) ?? [];
    if (method) requests.push({ method, path: path!, status: Number(status), bytes: Number(bytes) });
    if (words.push(line) > 20) words.shift();
    const listening = LISTENING.exec(line);
    if (listening) resolve(listening[1]!);
  };
  for (const stream of [child.stdout, child.stderr]) createInterface({ input: stream }).on("line", onLine);
  const fail = (what: string) => reject(new Error(`docker-registry ${what}\n${words.join("\n")}`));
  child.once("error", (error) => fail(`did not start: ${error.message}`));
  child.once("exit", (code) => fail(`ended with ${code}`));
  const late = setTimeout(() => fail(`was not ready after ${READY_MS} ms`), READY_MS);
  try {
    return { host: await host, child, requests };
  } catch (error) {
    await killed(child);
    throw error;
  } finally {
    clearTimeout(late);
  }
}

async function killed(child: ChildProcess): Promise<void> {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
  await new Promise((resolve) => {
    child.once("exit", resolve);
    child.kill("SIGKILL");
  });
}
