/**
 * `msb`: the command line. One file per command in `commands/`; each is a spelling of SDK calls and is loaded only when it is asked for,
 * because the time a command takes to start is part of the time a sandbox takes to start. It owns the terminal: flags, tables, progress,
 * signals, exit codes. It never talks to the daemon but through the SDK.
 */
export { main } from "./program.ts";
