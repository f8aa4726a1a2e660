import type { TemplateInfo, TemplateShapeInput } from "../contract/index.ts";
import { sharedConnection } from "./connection.ts";
import { type CallOptions, QUICK_MS, SLOW_MS, type SlowCallOptions } from "./options.ts";

/** Templates: the stored VM states that sandboxes start from. They are built when first needed; this is for doing it before. */
export const Template = {
  async list(options: CallOptions = {}): Promise<TemplateInfo[]> {
    const { connection = sharedConnection(), signal, deadlineMs = QUICK_MS } = options;
    const { templates } = await connection.json<{ templates: TemplateInfo[] }>({
      method: "GET",
      path: "/v1/templates",
      signal,
      deadlineMs,
      purpose: "list templates",
    });
    return templates;
  },

  /** Builds the template of a shape, unless it is there. Deadline: 15 minutes. */
  async build(shape: TemplateShapeInput, options: SlowCallOptions = {}): Promise<TemplateInfo> {
    const { connection = sharedConnection(), signal, deadlineMs = SLOW_MS, onProgress } = options;
    return connection.json<TemplateInfo>({
      method: "POST",
      path: "/v1/templates",
      body: shape,
      signal,
      deadlineMs,
      onProgress,
      purpose: "build a template",
    });
  },

  /** @param key the key, or a prefix of it that is unique */
  async remove(key: string, options: CallOptions = {}): Promise<void> {
    const { connection = sharedConnection(), signal, deadlineMs = QUICK_MS } = options;
    await connection.json<void>({
      method: "DELETE",
      path: `/v1/templates/${encodeURIComponent(key)}`,
      signal,
      deadlineMs,
      purpose: `remove template ${key}`,
    });
  },
};
