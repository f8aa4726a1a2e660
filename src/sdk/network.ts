import { SandboxError } from "../contract/errors.ts";
import type {
  NetworkChanges,
  NetworkExplanation,
  NetworkQuestionInput,
  NetworkRecord,
  NetworkSpec,
  NetworkStatistics,
} from "../contract/index.ts";
import type { Connection } from "./connection.ts";
import { jsonLines } from "./json-lines.ts";
import { type CallOptions, QUICK_MS } from "./options.ts";

type Call = Pick<CallOptions, "signal" | "deadlineMs">;

export interface NetworkLogOptions extends Call {
  /** Go on with what comes, until the sandbox is removed. Default: false */
  follow?: boolean | undefined;
  /** Only the last so many of what is kept. */
  tail?: number | undefined;
}

/** The network of a sandbox: what was decided, what would be, and what decides. Deadline: 60 s, none for the log. */
export class Network {
  readonly #connection: Connection;
  readonly #path: string;

  /** @internal */
  constructor(connection: Connection, sandboxPath: string) {
    this.#connection = connection;
    this.#path = `${sandboxPath}/network`;
  }

  /** Each connection and each question about a name, allowed or not, with the rule that decided; oldest first. */
  async *log({ signal, deadlineMs, ...query }: NetworkLogOptions = {}): AsyncGenerator<NetworkRecord> {
    const response = await this.#connection.stream({
      method: "GET",
      path: `${this.#path}/log`,
      query: { ...query },
      signal,
      deadlineMs,
      purpose: "read the log of a network",
    });
    try {
      for await (const line of jsonLines<NetworkRecord & { error?: object }>(response)) {
        if (line.error !== undefined) throw SandboxError.fromBody(line.error);
        yield line;
      }
    } finally {
      response.destroy();
    }
  }

  /** What would become of a connection, and why: every rule that was looked at. Nothing is connected to; a name is asked for. */
  test(question: NetworkQuestionInput, call: Call = {}): Promise<NetworkExplanation> {
    return this.#call("POST", "/test", `test ${question.host}`, call, question);
  }

  /** What has gone through since the sandbox was started. */
  statistics(call: Call = {}): Promise<NetworkStatistics> {
    return this.#call("GET", "/statistics", "read the statistics of a network", call);
  }

  /**
   * Gives a running sandbox other rules (all of them), other limits or another scope. Connections that the rules do not allow are
   * closed. Published ports cannot be changed.
   */
  update(changes: NetworkChanges, call: Call = {}): Promise<NetworkSpec> {
    return this.#call("PATCH", "", "change the rules of a network", call, changes);
  }

  #call<T>(
    method: "GET" | "POST" | "PATCH",
    path: string,
    purpose: string,
    call: Call,
    body?: unknown,
  ): Promise<T> {
    const { signal, deadlineMs = QUICK_MS } = call;
    return this.#connection.json<T>({
      method,
      path: `${this.#path}${path}`,
      body,
      signal,
      deadlineMs,
      purpose,
    });
  }
}
