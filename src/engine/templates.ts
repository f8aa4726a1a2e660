import { stat } from "node:fs/promises";
import { join } from "node:path";
import type { TemplateInfo, TemplateShape } from "../contract/index.ts";
import type { Templates } from "./engine.ts";
import type { MachineRoom } from "./machine-room.ts";
import { takeTemplateOf } from "./sandbox/index.ts";
import { type Template, templateKey } from "./template/index.ts";

/** The templates as the server sees them. */
export function templatesApi(machineRoom: MachineRoom): Templates {
  return {
    async list() {
      const { templates, inputsOf } = await machineRoom.machines();
      const list = await templates.list();
      return Promise.all(
        list.map(async (template) =>
          toInfo(template, templateKey(await inputsOf(template.manifest.inputs)) === template.key),
        ),
      );
    },

    async build(shape, operation = {}) {
      return toInfo(await takeTemplateOf(await machineRoom.machines(), shape, operation), true);
    },

    async remove(key) {
      await (await machineRoom.machines()).templates.remove(key);
    },
  };
}

async function toInfo({ key, directory, manifest }: Template, usable: boolean): Promise<TemplateInfo> {
  const { cpus, memoryMiB, volumeSlots, accelerator, version } = manifest.inputs;
  // Memory that the guest never touched takes no room: the file has holes.
  const { blocks } = await stat(join(directory, "memory"));
  return {
    key,
    shape: { cpus, memoryMiB, volumeSlots: volumeSlots as TemplateShape["volumeSlots"] },
    accelerator,
    qemuVersion: version,
    createdAt: manifest.createdAt,
    memoryBytes: blocks * 512,
    stateBytes: manifest.state.bytes,
    buildMs: manifest.buildMs,
    usable,
  };
}
