import type { LogRecord } from "../../contract/index.ts";
import { LogLines } from "./log-lines.ts";

/** Which records are wanted. Times are ISO 8601. */
export interface LogQuery {
  since?: string | undefined;
  until?: string | undefined;
  processes?: readonly number[] | undefined;
  streams?: readonly LogRecord["stream"][] | undefined;
  /** Only lines that contain this text, each as a record of its own. */
  grep?: string | undefined;
}

/** Lets through what a query asks for. With `grep` it remembers the lines that have not ended yet. */
export class LogFilter {
  private readonly sinceMs: number;
  private readonly untilMs: number;
  private readonly query: LogQuery;
  private readonly lines: LogLines | undefined;

  constructor(query: LogQuery) {
    this.query = query;
    this.sinceMs = query.since === undefined ? -Infinity : Date.parse(query.since);
    this.untilMs = query.until === undefined ? Infinity : Date.parse(query.until);
    this.lines = query.grep === undefined || query.grep === "" ? undefined : new LogLines(query.grep);
  }

  /** Whether anything written now could be let through. */
  get over(): boolean {
    return Date.now() > this.untilMs;
  }

  /** When nothing will be let through any more, in milliseconds from now; `undefined`: never. */
  get leftMs(): number | undefined {
    return this.untilMs === Infinity ? undefined : Math.max(0, this.untilMs - Date.now());
  }

  take(records: readonly LogRecord[]): LogRecord[] {
    const wanted = records.filter((record) => this.wants(record));
    return this.lines === undefined ? wanted : wanted.flatMap((record) => this.lines!.take(record));
  }

  /** What is left of lines that never ended. */
  rest(): LogRecord[] {
    return this.lines?.rest() ?? [];
  }

  private wants({ time, process, stream }: LogRecord): boolean {
    const { processes, streams } = this.query;
    if (processes !== undefined && !processes.includes(process)) return false;
    if (streams !== undefined && !streams.includes(stream)) return false;
    const ms = Date.parse(time);
    return ms >= this.sinceMs && ms <= this.untilMs;
  }
}
