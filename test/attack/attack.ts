import { joinHostPort } from "./forge.ts";

/** One attempt to get out of a sandbox. */
export interface Attack {
  name: string;
  /** Arguments of the probe. */
  run: string[];
  /**
   * The same with nothing wrong in it, which reaches its goal from a sandbox that may do everything: so the goal would have recorded the
   * attack. Default: what is run. `none`: there is no rule that allows it.
   */
  control?: string[] | "none";
  /** Address that the control arrives at. Default: any. */
  goal?: string;
  /** Rules that allow the control, beside those for hosts and metadata. */
  opens?: string[];
}

/** Opens a connection to it and says something. */
export const tcp = (host: string, port: number, ...texts: string[]): string[] => [
  "tcp",
  joinHostPort(host, port),
  ...(texts.length > 0 ? texts : ["GET / HTTP/1.0\r\n\r\n"]),
];

export const udp = (host: string, port: number, ...texts: string[]): string[] => [
  "udp",
  joinHostPort(host, port),
  ...(texts.length > 0 ? texts : ["hello"]),
];

/** A page, by the tool and the resolver of the image, which follows redirects. */
export const wget = (url: string): string[] => ["sh", `wget -T 5 -q -O - '${url}'`];

/** Commands of the image's shell, side by side. */
export const atOnce = (commands: string[]): string[] => [
  "sh",
  `${commands.map((command) => `${command} </dev/null & `).join("")}wait`,
];
