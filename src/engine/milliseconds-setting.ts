import { SandboxError } from "../contract/index.ts";

/**
 * A setting of the environment in milliseconds; `undefined` if it is not set.
 * @throws `invalid_argument` if it is no whole number above 0
 */
export function millisecondsSetting(env: NodeJS.ProcessEnv, name: string): number | undefined {
  const text = env[name];
  if (text === undefined || text === "") return undefined;
  if (/^[1-9]\d{0,8}$/.test(text)) return Number(text);
  throw new SandboxError("invalid_argument", `${name} is '${text}', which is no number of milliseconds`, {
    hint: "It takes a whole number above 0, e.g. 60000.",
  });
}
