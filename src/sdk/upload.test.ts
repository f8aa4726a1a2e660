import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync } from "node:fs";
import { createServer } from "node:http";
import { join } from "node:path";
import { buffer } from "node:stream/consumers";
import { afterEach, beforeEach, expect, test } from "vitest";
import { TestHome } from "./testing/test-home.ts";

let home: TestHome;
beforeEach(() => {
  home = new TestHome();
});
afterEach(() => home[Symbol.asyncDispose]());

test("what a child process has written is sent, though it ended before there was a request", async () => {
  const child = spawn("sh", ["-c", "echo written"], { stdio: ["ignore", "pipe", "inherit"] });
  const received: string[] = [];
  const server = createServer(async (request, response) => {
    // The daemon is asked first whether it is there, and takes until the child is gone.
    if (request.method === "GET") {
      if (child.exitCode === null) await once(child, "exit");
      await new Promise(setImmediate);
    }
    if (request.method === "PUT") received.push((await buffer(request)).toString());
    response.setHeader("content-type", "application/json");
    response.end("{}");
  });
  mkdirSync(join(home.path, "run"), { recursive: true });
  server.listen(join(home.path, "run/daemon.sock"));
  await once(server, "listening");
  try {
    const upload = child.stdout;
    await home.connect().json({ method: "PUT", path: "/", upload, purpose: "send", deadlineMs: 10_000 });
    expect(received).toEqual(["written\n"]);
  } finally {
    server.closeAllConnections();
    server.close();
  }
});
