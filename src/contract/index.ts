/**
 * What crosses a boundary: the sandbox spec, bodies of the API, stream messages, events and error codes. It is the one room
 * that everybody may enter, and it imports nothing of ours. It never does anything: no I/O, no state.
 */
export * from "./build.ts";
export * from "./dockerignore.ts";
export * from "./domain-name.ts";
export * from "./errors.ts";
export * from "./exec.ts";
export * from "./file-path.ts";
export * from "./file-watch.ts";
export * from "./files.ts";
export * from "./home.ts";
export * from "./images.ts";
export * from "./inline-file-bounds.ts";
export * from "./inline-files.ts";
export * from "./ip-address.ts";
export * from "./ip-prefix.ts";
export * from "./metrics.ts";
export * from "./mounts.ts";
export * from "./names.ts";
export * from "./network.ts";
export * from "./network-ports.ts";
export * from "./network-record.ts";
export * from "./network-rule.ts";
export * from "./passphrase.ts";
export * from "./pools.ts";
export * from "./processes.ts";
export * from "./records.ts";
export * from "./restored-spec.ts";
export * from "./sandbox.ts";
export * from "./snapshots.ts";
export * from "./stream.ts";
export * from "./upload.ts";
export * from "./volumes.ts";
