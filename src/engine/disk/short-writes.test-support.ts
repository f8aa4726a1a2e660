import { type FileHandle, open } from "node:fs/promises";
import { vi } from "vitest";

/** What a disk that is nearly full, or a signal, does to writes. */

type Write = (bytes: Buffer, offset: number, length: number, at: number) => Promise<{ bytesWritten: number }>;

/** Every write of any file takes half of what it is given, until disposed. */
export function cutWritesShort(): Promise<AsyncDisposable> {
  return replaceWrites(
    (write) => (bytes, offset, length, at) => write(bytes, offset, Math.ceil(length / 2), at),
  );
}

/** Every write of any file fails, until disposed. @param code such as `ENOSPC` */
export function failWrites(code: string): Promise<AsyncDisposable> {
  return replaceWrites(() => () => Promise.reject(Object.assign(new Error(`${code}: write`), { code })));
}

async function replaceWrites(by: (write: Write) => Write): Promise<AsyncDisposable> {
  await using any = await open("/dev/null");
  const handles = Object.getPrototypeOf(any) as { write: Write };
  const { write } = handles;
  const spy = vi.spyOn(handles, "write").mockImplementation(function (this: FileHandle, ...args) {
    return by(write.bind(this))(...(args as Parameters<Write>));
  });
  return { [Symbol.asyncDispose]: async () => spy.mockRestore() };
}
