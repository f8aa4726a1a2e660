import { InvalidArgumentError } from "commander";

/** Sizes and durations as people write them; strict, because a guess would be off by a factor of a thousand. */

const MIB_OF_UNIT: Record<string, number> = { K: 1 / 1024, M: 1, G: 1024, T: 1024 * 1024 };

/** @returns MiB of `512M`, `1.5G`, `2GiB`; units are powers of 1024 */
export function parseMebibytes(text: string): number {
  const match = /^(\d+(?:\.\d+)?)(K|M|G|T)?(?:i?B)?$/i.exec(text);
  if (!match) throw new InvalidArgumentError("a size is a number and a unit, as in 512M or 2G.");
  if (match[2] === undefined) {
    throw new InvalidArgumentError(`a size needs a unit: ${text}M or ${text}G?`);
  }
  const mib = Number(match[1]) * MIB_OF_UNIT[match[2].toUpperCase()]!;
  if (!Number.isInteger(mib)) throw new InvalidArgumentError("a size must be a whole number of MiB.");
  return mib;
}

const MS_OF_UNIT: Record<string, number> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** @returns milliseconds of `500ms`, `5s`, `1m30s`, `2h` */
export function parseMilliseconds(text: string): number {
  if (/^\d+(\.\d+)?$/.test(text)) {
    throw new InvalidArgumentError(`a duration needs a unit: ${text}s or ${text}m?`);
  }
  if (!/^(\d+(\.\d+)?(ms|s|m|h|d))+$/.test(text)) {
    throw new InvalidArgumentError("a duration is a number and a unit, as in 500ms, 5s or 1m30s.");
  }
  let total = 0;
  for (const [, number, unit] of text.matchAll(/(\d+(?:\.\d+)?)(ms|s|m|h|d)/g)) {
    total += Number(number) * MS_OF_UNIT[unit!]!;
  }
  return Math.round(total);
}

/** @returns ISO 8601 of `10m` (so long ago) or of a date and time; one without a zone is this machine's */
export function parseMoment(text: string, _before?: unknown, now = Date.now()): string {
  if (/^\d{4}-\d\d-\d\d/.test(text)) {
    const ms = Date.parse(text);
    if (!Number.isNaN(ms)) return new Date(ms).toISOString();
  } else if (/^(\d+(\.\d+)?(ms|s|m|h|d))+$/.test(text)) {
    return new Date(now - parseMilliseconds(text)).toISOString();
  }
  throw new InvalidArgumentError("a time is how long ago, as in 10m, or a date, as in 2026-01-31T12:00:00Z.");
}

export function parseCount(text: string): number {
  if (!/^\d{1,9}$/.test(text)) throw new InvalidArgumentError("it must be a whole number.");
  return Number(text);
}

export function formatBytes(bytes: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let value = bytes;
  let unit = 0;
  for (; value >= 1024 && unit < units.length - 1; unit++) value /= 1024;
  return `${unit === 0 || value >= 100 ? Math.round(value) : value.toFixed(1)} ${units[unit]}`;
}

/** How long ago, in the one unit that matters. */
export function formatAge(iso: string, now = Date.now()): string {
  const seconds = Math.max(0, Math.round((now - Date.parse(iso)) / 1000));
  if (seconds < 120) return `${seconds} s`;
  if (seconds < 2 * 3600) return `${Math.round(seconds / 60)} min`;
  if (seconds < 48 * 3600) return `${Math.round(seconds / 3600)} h`;
  return `${Math.round(seconds / 86400)} d`;
}
