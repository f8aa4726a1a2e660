/**
 * An image's configuration: what to run in it and how. The names and meanings are OCI's (image-spec, config.md); what
 * comes from outside is JSON of unknown origin and is validated here.
 */

import { z } from "zod";
import { SandboxError } from "../../contract/errors.ts";

const text = z.string().max(32 * 1024);
const words = z.array(text).max(4096);

/** Images of Docker have `null` where OCI's have nothing; both mean "not given". */
function given<T extends z.ZodType>(schema: T) {
  return schema.nullish().transform((value) => value ?? undefined);
}

// Docker writes sets as objects with empty values.
const set = z.record(text, z.unknown());

const ociConfig = z.object({
  Entrypoint: given(words),
  Cmd: given(words),
  Env: given(z.array(text.regex(/^[^=\0]+=/, "must be NAME=value")).max(4096)),
  WorkingDir: given(text),
  User: given(text),
  ExposedPorts: given(set),
  StopSignal: given(z.string().regex(/^((SIG)?[A-Z0-9+-]{1,20}|[0-9]{1,3}|)$/, "must be a signal")),
  Volumes: given(set),
  Labels: given(z.record(text, text)),
  Shell: given(words),
});

/** An image's configuration in our own spelling; what an image leaves out is empty. */
export interface ImageConfig {
  entrypoint: string[];
  cmd: string[];
  /** `NAME=value`, in order. */
  env: string[];
  /** Absolute; `/` if the image has none. */
  workdir: string;
  /** `user`, `uid`, `user:group` or `uid:gid`; "" is root. */
  user: string;
  /** `80/tcp` and the like. */
  exposedPorts: string[];
  /** Name or number; "" is SIGTERM. */
  stopSignal: string;
  /** Paths that the image wants kept apart. */
  volumes: string[];
  labels: Record<string, string>;
  /** What the shell form of a build step runs in; none if the image does not say. */
  shell: string[];
}

export const EMPTY_CONFIG: ImageConfig = {
  entrypoint: [],
  cmd: [],
  env: [],
  workdir: "/",
  user: "",
  exposedPorts: [],
  stopSignal: "",
  volumes: [],
  labels: {},
  shell: [],
};

/**
 * The configuration in OCI's JSON (the object under `config` in an image's configuration blob). What it holds beyond
 * the known fields is left out. Errors: `invalid_argument` naming the field.
 */
export function parseOciConfig(json: unknown): ImageConfig {
  const parsed = ociConfig.safeParse(json ?? {});
  if (!parsed.success) throw invalidConfig(parsed.error);
  const config = parsed.data;
  return {
    entrypoint: config.Entrypoint ?? [],
    cmd: config.Cmd ?? [],
    env: config.Env ?? [],
    workdir: config.WorkingDir || "/",
    user: config.User ?? "",
    exposedPorts: Object.keys(config.ExposedPorts ?? {}).sort(),
    stopSignal: config.StopSignal ?? "",
    volumes: Object.keys(config.Volumes ?? {}).sort(),
    labels: config.Labels ?? {},
    shell: config.Shell ?? [],
  };
}

/** The same in OCI's spelling, without what is empty; keys of sets and labels sorted. */
export function toOciConfig(config: ImageConfig): Record<string, unknown> {
  const asSet = (names: readonly string[]) => Object.fromEntries(names.toSorted().map((name) => [name, {}]));
  const all: Record<string, unknown> = {
    Entrypoint: config.entrypoint,
    Cmd: config.cmd,
    Env: config.env,
    WorkingDir: config.workdir === "/" ? "" : config.workdir,
    User: config.user,
    ExposedPorts: asSet(config.exposedPorts),
    StopSignal: config.stopSignal,
    Volumes: asSet(config.volumes),
    Labels: Object.fromEntries(Object.entries(config.labels).sort(([a], [b]) => (a < b ? -1 : 1))),
    Shell: config.shell,
  };
  return Object.fromEntries(
    Object.entries(all).filter(([, value]) => Object.keys(value as object).length > 0),
  );
}

function invalidConfig(error: z.ZodError): SandboxError {
  const issue = error.issues[0]!;
  const field = issue.path.length === 0 ? "it" : issue.path.join(".");
  return new SandboxError(
    "invalid_argument",
    `the image's configuration is invalid: ${field}: ${issue.message}`,
  );
}
