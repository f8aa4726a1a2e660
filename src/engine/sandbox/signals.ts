import { SandboxError } from "../../contract/index.ts";

/**
 * Linux's signal numbers on x86-64 and arm64 (signal(7)). Not the host's `os.constants`: the guest is Linux also where
 * the host is not.
 */
const NUMBERS: Record<string, number> = {
  SIGHUP: 1,
  SIGINT: 2,
  SIGQUIT: 3,
  SIGILL: 4,
  SIGTRAP: 5,
  SIGABRT: 6,
  SIGBUS: 7,
  SIGFPE: 8,
  SIGKILL: 9,
  SIGUSR1: 10,
  SIGSEGV: 11,
  SIGUSR2: 12,
  SIGPIPE: 13,
  SIGALRM: 14,
  SIGTERM: 15,
  SIGSTKFLT: 16,
  SIGCHLD: 17,
  SIGCONT: 18,
  SIGSTOP: 19,
  SIGTSTP: 20,
  SIGTTIN: 21,
  SIGTTOU: 22,
  SIGURG: 23,
  SIGXCPU: 24,
  SIGXFSZ: 25,
  SIGVTALRM: 26,
  SIGPROF: 27,
  SIGWINCH: 28,
  SIGIO: 29,
  SIGPWR: 30,
  SIGSYS: 31,
};

/** The first real-time signal that glibc leaves to programs. */
const SIGRTMIN = 34;

/** @param name `SIGTERM`, `TERM`, `15` or `SIGRTMIN+3` @throws `invalid_argument` */
export function signalNumber(name: string): number {
  const upper = name.toUpperCase();
  const realTime = /^(?:SIG)?RTMIN(?:\+(\d{1,2}))?$/.exec(upper);
  const number = /^\d+$/.test(name)
    ? Number(name)
    : realTime !== null
      ? SIGRTMIN + Number(realTime[1] ?? 0)
      : (NUMBERS[upper] ?? NUMBERS[`SIG${upper}`]);
  if (number !== undefined && number >= 1 && number <= 64) return number;
  throw new SandboxError("invalid_argument", `'${name}' is no signal`, {
    hint: "Give a name such as TERM or a number from 1 to 64.",
  });
}

/** Name of a signal; `SIG34` and the like for those without. */
export function signalName(number: number): string {
  return Object.keys(NUMBERS).find((name) => NUMBERS[name] === number) ?? `SIG${number}`;
}
