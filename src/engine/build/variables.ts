import type { BuildRequest } from "../../contract/index.ts";
import { expand } from "./dockerfile/expand.ts";
import type { ArgInstruction } from "./dockerfile/instruction.ts";
import type { Word } from "./dockerfile/logical-text.ts";

/** Arguments that every step may have without declaring them, if the build was given them (Dockerfile reference, "Predefined ARGs"). */
const PROXIES = ["HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY"].flatMap((name) => [
  name,
  name.toLowerCase(),
]);

/** Reproducible builds: the time of everything that the build makes (reproducible-builds.org). */
const EPOCH = "SOURCE_DATE_EPOCH";

/** The arguments of a whole build: what it was given, and what was declared before the first FROM. */
export class GlobalVariables {
  readonly #given: Readonly<Record<string, string>>;
  readonly #platform: ReadonlyMap<string, string>;
  readonly #declared = new Map<string, string>();
  readonly #escapeChar: string;
  /** Given and not asked for yet. */
  readonly unused: Set<string>;

  constructor(
    request: Pick<BuildRequest, "buildArgs">,
    platforms: { target: string; build: string },
    escapeChar: string,
  ) {
    this.#given = request.buildArgs;
    this.#escapeChar = escapeChar;
    this.unused = new Set(
      Object.keys(request.buildArgs).filter((name) => !PROXIES.includes(name) && name !== EPOCH),
    );
    this.#platform = new Map([
      ...platformArgs("TARGET", platforms.target),
      ...platformArgs("BUILD", platforms.build),
    ]);
  }

  declare({ args }: ArgInstruction): void {
    for (const { name, value } of args) {
      const known = this.#given[name] ?? (value === undefined ? undefined : this.expand(value));
      this.unused.delete(name);
      if (known !== undefined) this.#declared.set(name, known);
    }
  }

  expand(word: Word): string {
    return expand(word, {
      escapeChar: this.#escapeChar,
      lookup: (name) => this.#declared.get(name) ?? this.#platform.get(name),
    });
  }

  /** The value of an ARG in a stage; `own`: its default there. */
  valueOf(name: string, own: string | undefined): string | undefined {
    this.unused.delete(name);
    return this.#given[name] ?? own ?? this.#declared.get(name) ?? this.#platform.get(name);
  }

  /** Milliseconds of Unix time; undefined if the build does not say. */
  get epochMs(): number | undefined {
    const text = this.#given[EPOCH];
    return text !== undefined && /^[0-9]{1,11}$/.test(text) ? Number(text) * 1000 : undefined;
  }

  get proxies(): Record<string, string> {
    return Object.fromEntries(
      PROXIES.flatMap((name) => (name in this.#given ? [[name, this.#given[name]!]] : [])),
    );
  }
}

function platformArgs(prefix: "TARGET" | "BUILD", platform: string): [string, string][] {
  const [os = "", architecture = "", variant = ""] = platform.split("/");
  return [
    [`${prefix}PLATFORM`, platform],
    [`${prefix}OS`, os],
    [`${prefix}ARCH`, architecture],
    [`${prefix}VARIANT`, variant],
  ];
}

/** The variables of one stage: its ARGs below the image's environment. */
export class StageVariables {
  readonly #globals: GlobalVariables;
  readonly #escapeChar: string;
  readonly #args = new Map<string, string>();

  constructor(globals: GlobalVariables, escapeChar: string) {
    this.#globals = globals;
    this.#escapeChar = escapeChar;
  }

  declare({ args }: ArgInstruction, env: readonly string[]): void {
    for (const { name, value } of args) {
      const own = value === undefined ? undefined : this.expand(value, env);
      const known = this.#globals.valueOf(name, own);
      if (known !== undefined) this.#args.set(name, known);
    }
  }

  expand(word: Word, env: readonly string[], raw = false): string {
    return expand(word, {
      escapeChar: this.#escapeChar,
      raw,
      lookup: (name) =>
        env.find((entry) => entry.startsWith(`${name}=`))?.slice(name.length + 1) ?? this.#args.get(name),
    });
  }

  /** What a RUN gets as environment; the image's own goes on top. */
  environment(env: readonly string[]): Record<string, string> {
    const taken = new Set(env.map((entry) => entry.slice(0, entry.indexOf("="))));
    return Object.fromEntries([...this.#args].filter(([name]) => !taken.has(name)));
  }

  get proxies(): Record<string, string> {
    return this.#globals.proxies;
  }
}
