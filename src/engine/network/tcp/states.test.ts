import { expect, test } from "vitest";
import { type Event, type State, TRANSITIONS } from "./states.ts";

/** Figure 5 of RFC 9293, and what it leaves to its text. */
test.each<[State, Event, State]>([
  ["synSent", "syn", "synReceived"],
  ["synSent", "opened", "established"],
  ["synReceived", "opened", "established"],
  ["established", "fin", "closeWait"],
  ["established", "finSent", "finWait1"],
  ["finWait1", "fin", "closing"],
  ["finWait1", "finAcked", "finWait2"],
  ["finWait2", "fin", "timeWait"],
  ["closing", "finAcked", "timeWait"],
  ["closeWait", "finSent", "lastAck"],
  ["lastAck", "finAcked", "closed"],
  ["timeWait", "fin", "timeWait"],
  ["timeWait", "expired", "closed"],
])("%s, %s: %s", (state, event, next) => {
  expect(TRANSITIONS[state][event]?.next).toBe(next);
});

const STATES = Object.keys(TRANSITIONS) as State[];
const OPEN = STATES.filter((state) => state !== "closed" && state !== "timeWait");

test.each(OPEN)("%s ends by a reset silently, by an abort and by silence with a reset", (state) => {
  expect(TRANSITIONS[state].reset).toEqual({ next: "closed", actions: ["release"] });
  expect(TRANSITIONS[state].abort).toEqual({ next: "closed", actions: ["sendReset", "release"] });
  expect(TRANSITIONS[state].timeout).toEqual({ next: "closed", actions: ["sendReset", "release"] });
});

test("whatever leads to closed releases, and nothing else does", () => {
  for (const state of STATES)
    for (const step of Object.values(TRANSITIONS[state]))
      expect(step.actions.includes("release")).toBe(step.next === "closed");
});
