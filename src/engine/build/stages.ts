import { SandboxError } from "../../contract/index.ts";
import type { CopyInstruction, FromInstruction, Instruction } from "./dockerfile/instruction.ts";
import { wrong } from "./dockerfile/position.ts";

/** A FROM with what follows it. */
export interface Stage {
  index: number;
  from: FromInstruction;
  /** By which others may call it, as by its number. */
  name: string;
  steps: Exclude<Instruction, FromInstruction>[];
}

export interface Plan {
  /** ARGs before the first FROM: for the FROM lines, and for stages that declare them again. */
  globalArgs: Extract<Instruction, { keyword: "ARG" }>[];
  /** Those that the target needs, in order; the target is the last. */
  stages: Stage[];
}

const MAX_STAGES = 128;

/**
 * Cuts a Dockerfile into stages and leaves out those that the target does not need.
 * @throws `invalid_argument`: steps before the first FROM, names that stand twice, a target that there is not
 */
export function planStages(instructions: readonly Instruction[], target: string | undefined): Plan {
  const globalArgs: Plan["globalArgs"] = [];
  const stages: Stage[] = [];
  for (const instruction of instructions) {
    if (instruction.keyword === "FROM") {
      const index = stages.length;
      if (index === MAX_STAGES) throw wrong(instruction.at, `there are more than ${MAX_STAGES} stages`);
      if (instruction.stage !== undefined && stages.some(({ name }) => name === instruction.stage)) {
        throw wrong(instruction.at, `there is a stage ${JSON.stringify(instruction.stage)} already`);
      }
      stages.push({ index, from: instruction, name: instruction.stage ?? `stage-${index}`, steps: [] });
    } else if (stages.length > 0) stages.at(-1)!.steps.push(instruction);
    else if (instruction.keyword === "ARG") globalArgs.push(instruction);
    else
      throw wrong(instruction.at, `${instruction.keyword} stands before the first FROM, where only ARG may`);
  }
  const last = target === undefined ? stages.at(-1)! : stageOf(stages, target);
  if (last === undefined) {
    throw new SandboxError("invalid_argument", `the Dockerfile has no stage ${JSON.stringify(target)}`, {
      hint: `Its stages are: ${stages.map(({ name }) => name).join(", ")}.`,
    });
  }
  return { globalArgs, stages: needed(stages, last) };
}

/** A stage by name or number, of those before another. */
export function stageOf(
  stages: readonly Stage[],
  name: string,
  before = Number.POSITIVE_INFINITY,
): Stage | undefined {
  const earlier = stages.filter(({ index }) => index < before);
  const wanted = name.toLowerCase();
  return (
    earlier.findLast((stage) => stage.name === wanted) ??
    earlier.find(({ index }) => String(index) === wanted)
  );
}

function needed(stages: readonly Stage[], last: Stage): Stage[] {
  const found = new Set<Stage>();
  const pending = [last];
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    if (found.has(next)) continue;
    found.add(next);
    const copies = next.steps.filter((step): step is CopyInstruction => step.keyword === "COPY");
    // A name with a variable in it may be any stage's.
    for (const word of [next.from.image, ...copies.flatMap(({ from }) => from ?? [])]) {
      const stage = stageOf(stages, word.text, next.index);
      if (stage !== undefined) pending.push(stage);
      else if (word.text.includes("$")) pending.push(...stages.slice(0, next.index));
    }
  }
  return stages.filter((stage) => found.has(stage));
}
