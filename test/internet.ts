import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { firstOutput, until } from "./sandbox-driver.ts";

/**
 * An internet of two network namespaces, which this makes itself: in one is the daemon, in the other a server whose address is a
 * public one. Needs root and the host's `unshare`, `nsenter`, `ip` and Python.
 */

export const PUBLIC_ADDRESS = "93.184.216.34";
/** Of the server again, as no public one. */
export const PRIVATE_ADDRESS = "10.99.0.1";
const PROGRAM = fileURLToPath(new URL("../src/server/main.ts", import.meta.url));
const SERVE = `
import http.server
class Hello(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"hello from the internet\\n")
    def log_message(self, *rest):
        pass
server = http.server.HTTPServer(("", 80), Hello)
print("listening", flush=True)
server.serve_forever()
`;

export class Internet implements AsyncDisposable {
  readonly #children: ChildProcess[] = [];
  #host = 0;

  static async open(): Promise<Internet> {
    const internet = new Internet();
    try {
      await internet.#open();
      return internet;
    } catch (error) {
      await internet[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Starts a daemon for this home that has this internet and no other network. */
  async startDaemon(home: string, isUp: () => Promise<boolean>): Promise<void> {
    const node = [process.execPath, "--disable-warning=ExperimentalWarning", PROGRAM];
    const env = { ...process.env, MSB_HOME: home };
    this.#children.push(spawn("nsenter", within(this.#host, node), { env, stdio: "ignore" }));
    await until(isUp, "the daemon serves");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const child of this.#children.reverse()) {
      if (child.exitCode !== null || child.signalCode !== null) continue;
      child.kill("SIGKILL");
      await once(child, "exit");
    }
  }

  async #open(): Promise<void> {
    this.#host = await this.#namespace();
    const outside = await this.#namespace();
    await inside(this.#host, `ip link set lo up; ip link add out type veth peer name back netns ${outside}`);
    await inside(outside, `ip link set lo up; ip addr add ${PUBLIC_ADDRESS}/32 dev lo`);
    await inside(outside, `ip addr add ${PRIVATE_ADDRESS}/24 dev back; ip link set back up`);
    await inside(
      this.#host,
      `ip addr add 10.99.0.2/24 dev out; ip link set out up; ip route add default via ${PRIVATE_ADDRESS}`,
    );
    const server = spawn("nsenter", within(outside, ["python3", "-c", SERVE]));
    this.#children.push(server);
    await firstOutput(server);
  }

  /** @returns the pid of a process in it, for as long as this is open */
  async #namespace(): Promise<number> {
    const holder = spawn("unshare", ["--net", "sh", "-c", "echo ready; exec sleep 1000000"]);
    this.#children.push(holder);
    await firstOutput(holder);
    return holder.pid!;
  }
}

const within = (pid: number, argv: string[]): string[] => [`--net=/proc/${pid}/ns/net`, ...argv];

async function inside(pid: number, script: string): Promise<void> {
  await promisify(execFile)("nsenter", within(pid, ["sh", "-ec", script]));
}
