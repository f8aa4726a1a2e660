import { sharedConnection } from "./connection.ts";
import { type CallOptions, QUICK_MS } from "./options.ts";

const DEFAULT_REGISTRY = "docker.io";

export interface LoginOptions extends CallOptions {
  /** Host of the registry. Default: `docker.io`. */
  registry?: string | undefined;
  username: string;
  password: string;
}

/** Credentials for registries. The daemon keeps them; nothing gives them out again. */
export const Registry = {
  /**
   * Asks the registry whether it takes the credentials, and keeps them if it does.
   *
   * @throws SandboxError `unauthenticated`, `unavailable`, …
   */
  async login(options: LoginOptions): Promise<void> {
    const { connection = sharedConnection(), signal, deadlineMs = QUICK_MS, username, password } = options;
    const { registry = DEFAULT_REGISTRY } = options;
    await connection.json<void>({
      method: "POST",
      path: "/v1/registries/login",
      body: { registry, username, password },
      signal,
      deadlineMs,
      purpose: `log in to ${registry}`,
    });
  },

  /**
   * @param registry its host. Default: `docker.io`
   * @throws SandboxError `not_found` if there are no credentials
   */
  async logout(registry: string = DEFAULT_REGISTRY, options: CallOptions = {}): Promise<void> {
    const { connection = sharedConnection(), signal, deadlineMs = QUICK_MS } = options;
    await connection.json<void>({
      method: "DELETE",
      path: "/v1/registries/login",
      query: { registry },
      signal,
      deadlineMs,
      purpose: `log out of ${registry}`,
    });
  },
};
