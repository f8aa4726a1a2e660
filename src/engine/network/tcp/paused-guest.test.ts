import { expect, test } from "vitest";
import { SYN } from "../packet/tcp.ts";
import type { TcpConnection } from "./connection.ts";
import { GUESTS, OURS, RawGuest } from "./testing/raw-guest.ts";

/** A guest whose VM is stopped for a while: nothing of it is heard, and then all goes on where it was. */

const HOUR = 3_600_000;
const OTHER = 40_001;

/** Connections that are open: one with nothing to say, and one with bytes that the guest has not acknowledged. */
async function withConnections() {
  const guest = new RawGuest();
  const idle = await guest.open();
  await guest.send({ sourcePort: OTHER, flags: SYN, sequence: GUESTS, acknowledgment: 0 });
  const busy: TcpConnection = guest.requests.shift()!.accept();
  await guest.send({ sourcePort: OTHER });
  const errors: Error[] = [];
  for (const each of [idle, busy]) each.on("error", (error) => errors.push(error));
  guest.sent.length = 0;
  return { guest, idle, busy, errors };
}

test("what is open lives through a pause of an hour", async () => {
  const { guest, idle, busy, errors } = await withConnections();
  busy.write("before the pause");
  await guest.clock.pass(HOUR);
  expect([errors, idle.destroyed, busy.destroyed]).toEqual([[], false, false]);
  // The first word is of the one; the other has time to answer.
  await guest.send({ sourcePort: OTHER, acknowledgment: OURS + 1 + 16 });
  await guest.clock.pass(100_000);
  expect(idle.destroyed).toBe(false);
  await guest.send({}, Buffer.from("after it"));
  busy.write("and on");
  await guest.clock.pass(1000);
  expect(String(idle.read())).toBe("after it");
  expect(guest.taken().at(-1)).toMatchObject({ sequence: 17, length: 6 });
  expect(errors).toEqual([]);
});

test("while the guest speaks, a connection that does not is given up", async () => {
  const { guest, idle, busy, errors } = await withConnections();
  idle.write("anybody there?");
  for (let seconds = 0; seconds < 400; seconds += 20) {
    await guest.send({ sourcePort: OTHER });
    await guest.clock.pass(20_000);
  }
  expect(errors).toMatchObject([{ code: "ETIMEDOUT" }]);
  expect([idle.destroyed, busy.destroyed]).toEqual([true, false]);
});

test("after a pause, what does not answer is given up in the usual time", async () => {
  const { guest, idle, errors } = await withConnections();
  await guest.clock.pass(HOUR);
  for (let seconds = 0; seconds < 400; seconds += 20) {
    await guest.send({ sourcePort: OTHER });
    await guest.clock.pass(20_000);
    if (seconds === 200) expect(idle.destroyed).toBe(false);
  }
  expect(errors).toMatchObject([{ code: "ETIMEDOUT" }]);
  expect(idle.destroyed).toBe(true);
});
