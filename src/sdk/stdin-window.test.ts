import { expect, test } from "vitest";
import { STDIN_WINDOW } from "../contract/frames.ts";
import type { ProcessSocket } from "./process-socket.ts";
import { StdinWindow } from "./stdin-window.ts";

/** A socket that takes everything at once: only the window holds the writer back. */
function openSocket() {
  const sent = { bytes: 0, ended: false };
  const socket = {
    sendStdin: async (bytes: Uint8Array) => {
      sent.bytes += bytes.length;
    },
    say: () => {
      sent.ended = true;
    },
  };
  return { sent, socket: Promise.resolve(socket as unknown as ProcessSocket) };
}

/** Lets everything that can go on go on. */
const settle = () => new Promise((resolve) => setImmediate(resolve));

test("no more than a window is sent ahead, and as much more as is granted", async () => {
  const { sent, socket } = openSocket();
  const stdin = new StdinWindow(socket);
  const writing = stdin.write(new Uint8Array(STDIN_WINDOW + 1000));
  const ending = stdin.end();
  await settle();
  expect(sent).toEqual({ bytes: STDIN_WINDOW, ended: false });
  stdin.grant(600);
  await settle();
  expect(sent).toEqual({ bytes: STDIN_WINDOW + 600, ended: false });
  stdin.grant(1_000_000);
  await writing;
  await ending;
  expect(sent).toEqual({ bytes: STDIN_WINDOW + 1000, ended: true });
});

test("when nobody reads any more, writers are let go and nothing is sent", async () => {
  const { sent, socket } = openSocket();
  const stdin = new StdinWindow(socket);
  const writing = stdin.write(new Uint8Array(2 * STDIN_WINDOW));
  await settle();
  stdin.close();
  await writing;
  await stdin.write("more");
  await stdin.end();
  expect(sent).toEqual({ bytes: STDIN_WINDOW, ended: false });
});

test("after the end nothing can be written", async () => {
  const stdin = new StdinWindow(openSocket().socket);
  await stdin.end();
  await expect(stdin.write("x")).rejects.toThrow("stdin was ended");
});
