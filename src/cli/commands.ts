import type { Command } from "commander";

/** Every command of `msb`: enough to list it, and where the rest of it is. */
export interface CommandEntry {
  name: string;
  alias?: string;
  group: string;
  summary: string;
  load: () => Promise<{ command: () => Command }>;
}

const SANDBOXES = "Sandboxes:";
const IMAGES = "Images:";
const SYSTEM = "This installation:";

export const COMMANDS: readonly CommandEntry[] = [
  {
    name: "run",
    group: SANDBOXES,
    summary: "run a command in a new sandbox",
    load: () => import("./commands/run.ts"),
  },
  {
    name: "create",
    group: SANDBOXES,
    summary: "create a sandbox and leave it running",
    load: () => import("./commands/create.ts"),
  },
  {
    name: "exec",
    group: SANDBOXES,
    summary: "run a command in a running sandbox",
    load: () => import("./commands/exec.ts"),
  },
  {
    name: "shell",
    group: SANDBOXES,
    summary: "open a shell in a running sandbox",
    load: () => import("./commands/shell.ts"),
  },
  {
    name: "cp",
    group: SANDBOXES,
    summary: "copy files between this machine and a sandbox",
    load: () => import("./commands/cp.ts"),
  },
  {
    name: "ps",
    group: SANDBOXES,
    summary: "list the processes of a sandbox; without one, list sandboxes",
    load: () => import("./commands/ps.ts"),
  },
  {
    name: "attach",
    group: SANDBOXES,
    summary: "connect to a process that runs in a sandbox",
    load: () => import("./commands/attach.ts"),
  },
  {
    name: "wait",
    group: SANDBOXES,
    summary: "wait for a process to end",
    load: () => import("./commands/wait.ts"),
  },
  {
    name: "signal",
    group: SANDBOXES,
    summary: "send a signal to a process",
    load: () => import("./commands/signal.ts"),
  },
  {
    name: "ls",
    group: SANDBOXES,
    summary: "list sandboxes",
    load: () => import("./commands/ls.ts"),
  },
  {
    name: "inspect",
    group: SANDBOXES,
    summary: "show all that is known of a sandbox or an image, as JSON",
    load: () => import("./commands/inspect.ts"),
  },
  {
    name: "logs",
    group: SANDBOXES,
    summary: "show what a sandbox's processes wrote",
    load: () => import("./commands/logs.ts"),
  },
  {
    name: "stats",
    group: SANDBOXES,
    summary: "show what running sandboxes use now",
    load: () => import("./commands/stats.ts"),
  },
  {
    name: "top",
    group: SANDBOXES,
    summary: "show what all running sandboxes use, live",
    load: () => import("./commands/top.ts"),
  },
  {
    name: "net",
    group: SANDBOXES,
    summary: "show and change what sandboxes reach",
    load: () => import("./commands/net.ts"),
  },
  {
    name: "start",
    group: SANDBOXES,
    summary: "start a stopped sandbox with the disk it had",
    load: () => import("./commands/start.ts"),
  },
  {
    name: "stop",
    group: SANDBOXES,
    summary: "stop a sandbox in an orderly way",
    load: () => import("./commands/stop.ts"),
  },
  {
    name: "pause",
    group: SANDBOXES,
    summary: "have a sandbox stand still",
    load: () => import("./commands/pause.ts"),
  },
  {
    name: "suspend",
    group: SANDBOXES,
    summary: "store a sandbox on disk until it is used",
    load: () => import("./commands/suspend.ts"),
  },
  {
    name: "resume",
    group: SANDBOXES,
    summary: "have a paused or suspended sandbox go on",
    load: () => import("./commands/resume.ts"),
  },
  {
    name: "fork",
    group: SANDBOXES,
    summary: "make sandboxes that go on from where a running one is",
    load: () => import("./commands/fork.ts"),
  },
  {
    name: "snapshot",
    group: SANDBOXES,
    summary: "store the state of sandboxes: create, ls, inspect, rm, verify, export, import",
    load: () => import("./commands/snapshot.ts"),
  },
  {
    name: "restore",
    group: SANDBOXES,
    summary: "make sandboxes that go on from a snapshot",
    load: () => import("./commands/restore.ts"),
  },
  {
    name: "kill",
    group: SANDBOXES,
    summary: "end a sandbox at once",
    load: () => import("./commands/kill.ts"),
  },
  {
    name: "rm",
    group: SANDBOXES,
    summary: "remove a sandbox and its disk",
    load: () => import("./commands/rm.ts"),
  },
  {
    name: "pull",
    group: IMAGES,
    summary: "fetch an image from its registry",
    load: () => import("./commands/pull.ts"),
  },
  {
    name: "push",
    group: IMAGES,
    summary: "give an image to a registry",
    load: () => import("./commands/push.ts"),
  },
  {
    name: "build",
    group: IMAGES,
    summary: "build an image of a Dockerfile, in sandboxes",
    load: () => import("./commands/build.ts"),
  },
  {
    name: "prepare",
    group: IMAGES,
    summary: "store a sandbox that is ready for its work, to begin from there",
    load: () => import("./commands/prepare.ts"),
  },
  {
    name: "images",
    group: IMAGES,
    summary: "list images",
    load: () => import("./commands/images.ts"),
  },
  {
    name: "rmi",
    group: IMAGES,
    summary: "remove images",
    load: () => import("./commands/rmi.ts"),
  },
  {
    name: "tag",
    group: IMAGES,
    summary: "give an image another name",
    load: () => import("./commands/tag.ts"),
  },
  {
    name: "history",
    group: IMAGES,
    summary: "show the steps that made an image",
    load: () => import("./commands/history.ts"),
  },
  {
    name: "save",
    group: IMAGES,
    summary: "write images as one archive",
    load: () => import("./commands/save.ts"),
  },
  {
    name: "load",
    group: IMAGES,
    summary: "read the images of an archive",
    load: () => import("./commands/load.ts"),
  },
  {
    name: "import",
    group: IMAGES,
    summary: "make an image of a folder or a root file system tar",
    load: () => import("./commands/import.ts"),
  },
  {
    name: "export",
    group: IMAGES,
    summary: "write the file system of a sandbox or an image as a tar",
    load: () => import("./commands/export.ts"),
  },
  {
    name: "prune",
    group: IMAGES,
    summary: "free what nothing refers to",
    load: () => import("./commands/prune.ts"),
  },
  {
    name: "df",
    group: IMAGES,
    summary: "say where the space of the image store went",
    load: () => import("./commands/df.ts"),
  },
  {
    name: "login",
    group: IMAGES,
    summary: "keep credentials for a registry",
    load: () => import("./commands/login.ts"),
  },
  {
    name: "logout",
    group: IMAGES,
    summary: "forget the credentials for a registry",
    load: () => import("./commands/logout.ts"),
  },
  {
    name: "volume",
    group: SANDBOXES,
    summary: "create, list and remove volumes, which outlive sandboxes",
    load: () => import("./commands/volume.ts"),
  },
  {
    name: "template",
    group: SYSTEM,
    summary: "list, build and remove stored VM states",
    load: () => import("./commands/template.ts"),
  },
  {
    name: "pool",
    group: SYSTEM,
    summary: "keep VMs of an image ready, so that sandboxes are there at once",
    load: () => import("./commands/pool.ts"),
  },
  {
    name: "doctor",
    group: SYSTEM,
    summary: "say what this machine can do and what is missing",
    load: () => import("./commands/doctor.ts"),
  },
  {
    name: "daemon",
    group: SYSTEM,
    summary: "start, stop and look after the daemon",
    load: () => import("./commands/daemon.ts"),
  },
  {
    name: "events",
    group: SYSTEM,
    summary: "show events as they happen",
    load: () => import("./commands/events.ts"),
  },
  {
    name: "version",
    group: SYSTEM,
    summary: "show versions",
    load: () => import("./commands/version.ts"),
  },
  {
    name: "completion",
    group: SYSTEM,
    summary: "print a completion script for your shell",
    load: () => import("./commands/completion.ts"),
  },
];
