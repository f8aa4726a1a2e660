import { type NetworkChanges, type NetworkSpec, SandboxError } from "../../contract/index.ts";

/**
 * A network as it is with these changes. What is not given stays; `null` lifts a limit.
 * @param name of the sandbox, for errors
 * @throws what of a network cannot be changed while its sandbox is there
 */
export function changedNetwork(
  spec: NetworkSpec,
  { scope, rules, limits = {} }: NetworkChanges,
  name: string,
): NetworkSpec {
  if (spec.scope === "none")
    throw new SandboxError("invalid_state", `sandbox '${name}' was made without a network`, {
      hint: "Create another one, with a scope that is not 'none'.",
    });
  if (scope === "none")
    throw new SandboxError("invalid_argument", `sandbox '${name}' cannot lose its network: its VM has it`, {
      hint: "The rule 'deny any' closes it.",
    });
  const given = Object.entries(limits).filter(([, limit]) => limit !== undefined);
  const all = Object.entries({ ...spec.limits, ...Object.fromEntries(given) });
  const kept = Object.fromEntries(all.filter(([, limit]) => limit !== null));
  return {
    ...spec,
    scope: scope ?? spec.scope,
    rules: rules ?? spec.rules,
    limits: kept as NetworkSpec["limits"],
  };
}
