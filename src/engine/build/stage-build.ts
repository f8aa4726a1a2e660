/** One stage of a build: its steps, each from one state of the image to the next. */

import { createHash } from "node:crypto";
import { posix } from "node:path";
import { type BuildRequest, SandboxError } from "../../contract/index.ts";
import { fromBytes } from "../../tar/index.ts";
import type { OperationContext } from "../engine.ts";
import {
  type Digest,
  type HeldLayer,
  type ImageConfig,
  type ImageTree,
  isDirectory,
  type StoredImage,
} from "../image/index.ts";
import { signalNumber } from "../sandbox/index.ts";
import type { BuilderOptions } from "./builder.ts";
import { type CacheLocks, mountsKey } from "./cache-mounts.ts";
import { type CopyOptions, copyLayer, directoryLayer } from "./copy/copy-layer.ts";
import { matchSource, type SourceTree } from "./copy/copy-sources.ts";
import { modeOf, type Owner, ownerOf } from "./copy/owner.ts";
import { refuseRemote } from "./dockerfile/copy-instruction.ts";
import type { Command, CopyInstruction, RunInstruction, TextInstruction } from "./dockerfile/instruction.ts";
import type { Word } from "./dockerfile/logical-text.ts";
import { wrong } from "./dockerfile/position.ts";
import {
  type ImageState,
  runConfigOf,
  type Step,
  stepKey,
  withEnv,
  withSet,
  withStep,
} from "./image-state.ts";
import type { Resources } from "./resources.ts";
import { runLayer } from "./run-layer.ts";
import type { Stage } from "./stages.ts";
import type { StepProgress } from "./step-progress.ts";
import { type GlobalVariables, StageVariables } from "./variables.ts";

const DEFAULT_SHELL = ["/bin/sh", "-c"];

export interface StageBuildOptions extends BuilderOptions {
  locks: CacheLocks;
  context: SourceTree;
  request: BuildRequest;
  operation: OperationContext;
  globals: GlobalVariables;
  escapeChar: string;
  resources: Resources;
  /** The end of an earlier stage, by name or number. */
  earlier(name: string): ImageState | undefined;
  ensure(name: string): Promise<StoredImage>;
  /** What the stage begins with. */
  state: ImageState;
  progress: StepProgress;
}

/** These tell of themselves, once it is known whether they were made before. */
const MAKES_LAYERS = new Set(["RUN", "COPY", "ADD", "WORKDIR"]);

type StageStep = Stage["steps"][number];

export class StageBuild {
  readonly #options: StageBuildOptions;
  readonly #variables: StageVariables;
  #state: ImageState;
  /** Whether this stage has said what is run. */
  #hasCommand = false;

  constructor(options: StageBuildOptions) {
    this.#options = options;
    this.#state = options.state;
    this.#variables = new StageVariables(options.globals, options.escapeChar);
  }

  async run(steps: readonly StageStep[]): Promise<ImageState> {
    for (const step of steps) {
      this.#options.progress.next();
      const { signal } = this.#options.operation;
      if (signal?.aborted)
        throw new SandboxError("cancelled", "the build was cancelled", { cause: signal.reason });
      await this.#step(step);
    }
    return this.#state;
  }

  async #step(step: StageStep): Promise<void> {
    if (!MAKES_LAYERS.has(step.keyword)) this.#options.progress.step(step.source);
    const say = (change: Step["change"], key?: unknown) =>
      this.#add({ createdBy: step.source, change, key: JSON.stringify(key ?? "") });
    switch (step.keyword) {
      case "RUN":
        return this.#run(step);
      case "COPY":
      case "ADD":
        return this.#copy(step);
      case "WORKDIR":
        return this.#workdir(step);
      case "ARG":
        this.#variables.declare(step, this.#config.env);
        return;
      case "ENV": {
        const pairs = step.pairs.map(({ name, value }) => [this.#expand(name), this.#expand(value)] as const);
        return say((config) => withEnv(config, pairs), pairs);
      }
      case "LABEL": {
        const labels = Object.fromEntries(
          step.pairs.map(({ name, value }) => [this.#expand(name), this.#expand(value)]),
        );
        return say((config) => ({ ...config, Labels: { ...(config.Labels as object), ...labels } }), labels);
      }
      case "EXPOSE": {
        const ports = step.words
          .flatMap((word) => this.#expand(word).split(/\s+/))
          .map((port) => portOf(port, step.at));
        return say((config) => withSet(config, "ExposedPorts", ports), ports);
      }
      case "VOLUME": {
        const paths = step.words.map((word) => this.#expand(word));
        return say((config) => withSet(config, "Volumes", paths), paths);
      }
      case "CMD":
        this.#hasCommand = true;
        return say((config) => ({ ...config, Cmd: this.#argv(step.command) }));
      case "ENTRYPOINT": {
        // A command that came with the base was made for another entrypoint.
        const command = this.#hasCommand ? {} : { Cmd: undefined };
        return say((config) => ({ ...config, Entrypoint: this.#argv(step.command), ...command }));
      }
      case "SHELL":
        return say((config) => ({ ...config, Shell: step.shell }));
      case "USER": {
        const User = this.#expand(step.text);
        return say((config) => ({ ...config, User }), User);
      }
      case "STOPSIGNAL": {
        const StopSignal = signalAt(step.at, this.#expand(step.text));
        return say((config) => ({ ...config, StopSignal }), StopSignal);
      }
      case "MAINTAINER":
        return this.#add({ createdBy: step.source, author: step.text.text });
    }
  }

  async #run(step: RunInstruction): Promise<void> {
    const { env } = this.#config;
    const args = this.#variables.environment(env);
    const argv = this.#argv(step.command);
    // How history shows the step leaves out blanks and line ends that may mean something to what runs it.
    const key = JSON.stringify([argv, args, mountsKey(step.mounts)]);
    await this.#layerStep(step.source, key, async () => {
      const { resources, progress } = this.#options;
      if (this.#state.layers.length === 0) {
        throw wrong(
          step.at,
          "there is nothing to run in: the image is empty",
          "FROM scratch has no shell; COPY one first.",
        );
      }
      const expand = (text: string) => this.#variables.expand({ text, at: step.at }, env);
      return runLayer({
        ...this.#options,
        state: this.#state,
        image: await resources.tree(this.#state.layers),
        step,
        argv,
        env: { ...this.#variables.proxies, ...args },
        expandMount: ({ target, id }) => ({
          target: this.#absolute(expand(target)),
          id: id === undefined ? undefined : expand(id),
        }),
        onOutput: (text) => progress.output(text),
      });
    });
  }

  async #copy(step: CopyInstruction): Promise<void> {
    const { resources, context } = this.#options;
    const source =
      step.from === undefined ? context : await this.#sourceOf(this.#expand(step.from), step.from);
    const image = await resources.tree(this.#state.layers);
    const words = step.sources
      .filter((one): one is Word => "text" in one)
      .map(({ text, at }) => ({ text: this.#expand({ text, at }), at }));
    if (step.keyword === "ADD") words.forEach(refuseRemote);
    const found = words.map((word) => ({ word, matches: matchSource(source, word) }));
    const options: CopyOptions = {
      at: step.at,
      source,
      matches: found.flatMap(({ matches }) => matches),
      inline: step.sources.flatMap((one) =>
        "contents" in one
          ? [
              {
                name: one.name,
                contents: one.expand
                  ? this.#variables.expand({ text: one.contents, at: one.at }, this.#config.env, true)
                  : one.contents,
              },
            ]
          : [],
      ),
      image,
      destination: this.#absolute(this.#expand(step.destination)),
      owner: await this.#ownerOf(step.chown, image),
      mode: modeOf(expanded(step.chmod, (word) => this.#expand(word))),
      unpack: step.keyword === "ADD",
    };
    // What is copied, and not when it was written, tells one copy from another.
    const key = await digestOf(copyLayer({ ...options, mtime: [0, 0] }));
    await this.#layerStep(step.source, key, () =>
      this.#options.store.ingestLayer({
        source: copyLayer(options),
        what: `the layer of ${step.source}`,
        signal: this.#options.operation.signal,
      }),
    );
    for (const { word, matches } of found) {
      if (matches.length > 0) continue;
      const what = `nothing in ${source.what} matches ${JSON.stringify(word.text)}`;
      this.#options.progress.output(`warning: ${what} (line ${word.at.line})\n`);
    }
  }

  async #ownerOf(word: Word | undefined, image: ImageTree): Promise<Owner | undefined> {
    return word === undefined ? undefined : ownerOf({ text: this.#expand(word), at: word.at }, image);
  }

  async #sourceOf(name: string, at: Word): Promise<SourceTree> {
    const { earlier, ensure, resources } = this.#options;
    const stage = earlier(name);
    const everything = { what: JSON.stringify(name), ignores: () => false, mayContainException: () => false };
    if (stage !== undefined) return { ...everything, tree: await resources.tree(stage.layers) };
    if (/^[0-9]+$/.test(name)) throw wrong(at.at, `there is no earlier stage ${name}`);
    const image = await ensure(name);
    resources.holdImage(image.digest);
    return { ...everything, tree: await resources.tree(image.layers.map(({ digest }) => digest)) };
  }

  async #workdir(step: TextInstruction): Promise<void> {
    const path = this.#absolute(this.#expand(step.text)).replace(/(.)\/$/, "$1");
    const change: Step["change"] = (config) => ({ ...config, WorkingDir: path });
    const { resources, store } = this.#options;
    const image = await resources.tree(this.#state.layers);
    const found = image.lookup(fromBytes(Buffer.from(path)));
    if (found !== undefined && isDirectory(found.inode)) {
      this.#options.progress.step(step.source);
      return this.#add({ createdBy: step.source, change, key: path });
    }
    const { user } = this.#config;
    const owner = await ownerOf({ text: user === "" ? "0:0" : user, at: step.at }, image);
    const make = () =>
      store.ingestLayer({
        source: directoryLayer(image, path, owner, step.at),
        what: `the layer of ${step.source}`,
      });
    await this.#layerStep(step.source, path, make, change);
  }

  /** A step that makes a layer, unless it was made before. */
  async #layerStep(
    createdBy: string,
    key: string,
    make: () => Promise<HeldLayer>,
    change?: Step["change"],
  ): Promise<void> {
    const { cache, store, request, resources, progress, globals } = this.#options;
    const step = { createdBy, key, change };
    const asked = globals.epochMs === undefined ? undefined : new Date(globals.epochMs).toISOString();
    const whole = stepKey(this.#state, step);
    const known = request.noCache ? undefined : await cache.step(whole);
    const held = known === undefined ? undefined : await store.holdLayer(known.layer);
    if (held !== undefined) {
      progress.step(createdBy, true);
      resources.keep(held);
      return this.#add({ ...step, layer: held.facts.digest, created: asked ?? known!.created });
    }
    progress.step(createdBy);
    const made = await make();
    resources.keep(made);
    const created = asked ?? new Date().toISOString();
    await cache.keepStep(whole, made.facts.digest, created);
    this.#add({ ...step, layer: made.facts.digest, created });
  }

  #add(step: Step): void {
    this.#state = withStep(this.#state, step);
  }

  get #config(): ImageConfig {
    return runConfigOf(this.#state);
  }

  #expand(word: Word): string {
    return this.#variables.expand(word, this.#config.env);
  }

  #argv(command: Command): string[] {
    if (command.form === "exec") return command.argv;
    const { shell } = this.#config;
    return [...(shell.length > 0 ? shell : DEFAULT_SHELL), command.script];
  }

  /** Relative to the working directory; a slash at the end stays. */
  #absolute(path: string): string {
    const joined = posix.join("/", path.startsWith("/") ? "" : this.#config.workdir, path);
    return /(^|\/)\.$/.test(path) && !joined.endsWith("/") ? `${joined}/` : joined;
  }
}

function expanded(word: Word | undefined, expand: (word: Word) => string): Word | undefined {
  return word === undefined ? undefined : { text: expand(word), at: word.at };
}

/** `80`, `80/udp`, `8000-8010/tcp`. */
function portOf(port: string, at: Word["at"]): string {
  const match = /^([0-9]{1,5})(-[0-9]{1,5})?(\/(tcp|udp|sctp))?$/i.exec(port);
  if (match === null) throw wrong(at, `${JSON.stringify(port)} is no port`, "Write 80, 80/udp or 8000-8010.");
  return match[3] === undefined ? `${port}/tcp` : port.toLowerCase();
}

/** A stop signal in its own words, if the sandbox will know it. */
function signalAt(at: Word["at"], name: string): string {
  try {
    signalNumber(name);
  } catch (cause) {
    const { message, hint } = SandboxError.from(cause);
    throw wrong(at, message, hint);
  }
  return name;
}

async function digestOf(source: AsyncIterable<Uint8Array>): Promise<Digest> {
  const hash = createHash("sha256");
  for await (const piece of source) hash.update(piece);
  return `sha256:${hash.digest("hex")}`;
}
