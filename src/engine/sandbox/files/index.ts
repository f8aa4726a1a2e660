/**
 * The files of a running sandbox, through the agent's `files` process: requests, and streams and listings made of them. Trees as tars,
 * and what is watched, have a process each. It owns these processes. It never looks at a disk from outside, and decides nothing about paths: the guest's kernel does.
 */
export { GuestFiles } from "./sandbox-files.ts";
