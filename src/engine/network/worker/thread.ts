import { enableCompileCache } from "node:module";
import { parentPort } from "node:worker_threads";
import { SandboxError } from "../../../contract/errors.ts";
import { Groups } from "../group/group.ts";
import type {
  BegunFlow,
  CallName,
  Calls,
  FlowRecord,
  FromThread,
  NetworkEvent,
  ToThread,
} from "./messages.ts";
import { RecordBatch } from "./record-batch.ts";
import { SandboxStack } from "./sandbox-stack.ts";

/** The program of one of the network's threads: the stacks of some sandboxes. An error that nobody caught ends it, loudly. */

enableCompileCache();
const port = parentPort!;
const say = (message: FromThread): void => port.postMessage(message);

interface Entry {
  stack: SandboxStack;
  batch: RecordBatch;
}

/** All members of a group are on one thread. */
const groups = new Groups();
const entries = new Map<string, Entry>();
/** Those that are being opened: one that is to go meanwhile must not be left behind. */
const opening = new Map<string, Promise<SandboxStack>>();

function entryOf(id: string): Entry {
  const entry = entries.get(id);
  if (entry === undefined)
    throw new SandboxError("internal", `the network of sandbox '${id}' is not attached`);
  return entry;
}

type Answering = { [Name in CallName]: (ask: Calls[Name]["ask"]) => Promise<Calls[Name]["answer"]> };

const answering: Answering = {
  async attach(options) {
    const { id } = options;
    if (entries.has(id) || opening.has(id))
      throw new SandboxError("internal", `the network of sandbox '${id}' is attached twice`);
    const batch = new RecordBatch((records) => say({ say: "records", id, records }));
    const hears = {
      onRecord: (record: FlowRecord) => batch.add(record),
      onFlows: (flows: BegunFlow[]) => say({ say: "flows", id, flows }),
      onEvent: (event: NetworkEvent) => say({ say: "event", id, event }),
      onVisit: () => say({ say: "visited", id }),
    };
    const open = SandboxStack.open(options, hears, groups);
    opening.set(id, open);
    try {
      const stack = await open;
      entries.set(id, { stack, batch });
      return stack.ports;
    } finally {
      opening.delete(id);
    }
  },
  async connect({ id, socket, timeoutMs }) {
    await entryOf(id).stack.connect(socket, timeoutMs);
    return undefined;
  },
  async update({ id, spec, settings }) {
    entryOf(id).stack.update(spec, settings);
    return undefined;
  },
  test: async ({ id, question }) => entryOf(id).stack.test(question),
  statistics: async ({ id }) => entryOf(id).stack.statistics,
  async detach({ id }) {
    await opening.get(id)?.catch(() => {});
    const entry = entries.get(id);
    entries.delete(id);
    await entry?.stack[Symbol.asyncDispose]();
    entry?.batch[Symbol.dispose]();
    return undefined;
  },
};

async function answer({ call, number, ask }: ToThread): Promise<void> {
  try {
    const work = answering[call] as (ask: unknown) => Promise<unknown>;
    say({ say: "answer", number, answer: await work(ask) });
  } catch (error) {
    say({ say: "error", number, error: SandboxError.from(error).toBody() });
  }
}

port.on("message", (message: ToThread) => void answer(message));
