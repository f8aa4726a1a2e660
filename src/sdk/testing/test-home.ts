import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { type ConnectOptions, connect } from "../connection.ts";
import { Daemon } from "../daemon.ts";

/** The daemon's program with an engine that has no VMs. */
export const TEST_DAEMON = fileURLToPath(new URL("../../server/testing/daemon.ts", import.meta.url));

/** A home of its own, in which clients start the daemon with the local engine; gone, with its daemon, at the end. */
export class TestHome implements AsyncDisposable {
  readonly path = mkdtempSync(join(tmpdir(), "msb-home-"));

  constructor() {
    process.env.MSB_DAEMON = TEST_DAEMON;
  }

  /** Environment for programs that are to use this home. */
  get env(): NodeJS.ProcessEnv {
    return { ...process.env, MSB_HOME: this.path, MSB_DAEMON: TEST_DAEMON, NO_COLOR: "1" };
  }

  connect(options: ConnectOptions = {}) {
    return connect({ home: this.path, ...options });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Daemon.stop({ connection: this.connect() });
    rmSync(this.path, { recursive: true, force: true });
  }
}
