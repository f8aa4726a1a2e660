/**
 * The map of the house (ARCHITECTURE.md, "Rooms"), as rules:
 *
 *   cli -> sdk -> contract        server -> engine -> contract        project -> contract
 *          sdk, engine -> tar
 *
 * and inside the engine: `sandbox` composes the rooms, `build` and `pool` stand above it; machine, guest, image, disk,
 * network, state, template, store and volume know of each other only types.
 */

/** Rooms of src/ and the rooms that each may import besides itself. */
const ROOMS = {
  contract: [],
  tar: ["contract"],
  project: ["contract"],
  sdk: ["contract", "tar"],
  cli: ["sdk", "contract"],
  engine: ["contract", "tar"],
  server: ["engine", "contract"],
};

/** Rooms of the engine that do not compose others. */
const ENGINE_ROOMS = [
  "machine",
  "guest",
  "image",
  "disk",
  "folders",
  "network",
  "state",
  "template",
  "store",
  "volume",
];

const TEST = "\\.test(-support)?\\.ts$|/testing/";

const roomRules = Object.entries(ROOMS).map(([room, allowed]) => ({
  name: `${room}-imports-only-${allowed.join("-and-") || "itself"}`,
  severity: "error",
  from: { path: `^src/${room}/` },
  to: { path: "^src/", pathNot: `^src/(${[room, ...allowed].join("|")})/` },
}));

const engineRules = ENGINE_ROOMS.map((room) => ({
  name: `engine-${room}-knows-only-types-of-its-neighbours`,
  severity: "error",
  from: { path: `^src/engine/${room}/`, pathNot: TEST },
  to: {
    path: "^src/engine/",
    // What is no room's own: how a thread finds its program, what a full disk is called, whether something is there, how all of it is written, copied and had on disk.
    pathNot: `^src/engine/(${room}/|(thread-program|storage-error|write-fully|copy-sparse|sync-path|exists)\\.ts$)`,
    dependencyTypesNot: ["type-only"],
  },
}));

/**
 * A room is entered by its index.ts. contract alone is open: a client that starts fast loads only the files
 * of it that it needs. Tests and benches of the whole look behind the doors.
 */
const doors = [
  ...Object.keys(ROOMS).filter((room) => room !== "contract"),
  ...[...ENGINE_ROOMS, "sandbox", "build", "pool"].map((room) => `engine/${room}`),
].map((room) => ({
  name: `${room.replace("/", "-")}-is-entered-by-its-index`,
  severity: "error",
  from: { pathNot: [`^src/${room}/`, TEST, "^(test|bench)/"] },
  to: { path: `^src/${room}/`, pathNot: `^src/${room}/index\\.ts$` },
}));

/** @type {import("dependency-cruiser").IConfiguration} */
export default {
  forbidden: [
    ...roomRules,
    ...engineRules,
    ...doors,
    {
      name: "no-circular-imports",
      severity: "error",
      from: {},
      // What is loaded only when it is used, or not at all, cannot bite its own tail while loading.
      to: { circular: true, viaOnly: { dependencyTypesNot: ["type-only", "dynamic-import"] } },
    },
    {
      name: "code-needs-no-test",
      severity: "error",
      from: { path: "^src/", pathNot: TEST },
      to: { path: TEST },
    },
    {
      name: "imports-are-declared",
      comment: "what is imported is in package.json, and what runs needs no development dependency",
      severity: "error",
      from: { path: "^src/", pathNot: TEST },
      to: { dependencyTypes: ["npm-dev", "npm-no-pkg", "npm-unknown"], pathNot: "node_modules/@types/" },
    },
    {
      name: "imports-exist",
      severity: "error",
      from: {},
      to: { couldNotResolve: true },
    },
  ],
  options: {
    doNotFollow: { path: "node_modules" },
    // Sees `import type`, which is gone after compilation.
    tsPreCompilationDeps: true,
    tsConfig: { fileName: "tsconfig.json" },
    enhancedResolveOptions: {
      exportsFields: ["exports"],
      conditionNames: ["import", "node", "default", "types"],
    },
  },
};
