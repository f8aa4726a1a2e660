import { stat } from "node:fs/promises";
import { join } from "node:path";
import type { TemplateInfo, TemplateShape } from "../contract/index.ts";
import type { Templates } from "./engine.ts";
import type { MachineRoom } from "./machine-room.ts";
import { STORED_INTERFACE, takeTemplateOf } from "./sandbox/index.ts";
import { type Template, templateKey } from "./template/index.ts";

/** The templates as the server sees them. */
export function templatesApi(machineRoom: MachineRoom): Templates {
  return {
    async list() {
      const { templates, inputsOf } = await machineRoom.machines();
      const list = await templates.list();
      return Promise.all(
        list.map(async (template) => {
          const { inputs } = template.manifest;
          const shape = { ...inputs, network: inputs.network === "" ? undefined : STORED_INTERFACE };
          return toInfo(template, templateKey(await inputsOf(shape)) === template.key);
        }),
      );
    },

    async build(shape, operation = {}) {
      const machineShape = { ...shape, network: shape.network ? STORED_INTERFACE : undefined };
      return toInfo(await takeTemplateOf(await machineRoom.machines(), machineShape, operation), true);
    },

    async remove(key) {
      await (await machineRoom.machines()).templates.remove(key);
    },
  };
}

async function toInfo({ key, directory, manifest }: Template, usable: boolean): Promise<TemplateInfo> {
  const { cpus, memoryMiB, volumeSlots, network, accelerator, version } = manifest.inputs;
  // Memory that the guest never touched takes no room: the file has holes.
  const { blocks } = await stat(join(directory, "memory"));
  return {
    key,
    shape: {
      cpus,
      memoryMiB,
      volumeSlots: volumeSlots as TemplateShape["volumeSlots"],
      network: network !== "",
    },
    accelerator,
    qemuVersion: version,
    createdAt: manifest.createdAt,
    memoryBytes: blocks * 512,
    stateBytes: manifest.state.bytes,
    buildMs: manifest.buildMs,
    usable,
  };
}
