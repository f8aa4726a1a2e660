import { z } from "zod";
import { errorBody } from "../contract/index.ts";

/** Pieces that several routes describe themselves with. */

export const json = <T extends z.ZodType>(schema: T, description: string) => ({
  description,
  content: { "application/json": { schema } },
});

/** Every route may fail in the same form. */
export const failure = {
  default: json(z.object({ error: errorBody }), "It failed; `error.code` says how."),
} as const;

export const refParam = z.object({
  ref: z.string().min(1).max(64).meta({ description: "Name or id of the sandbox.", example: "my-sandbox" }),
});

/** A flag in a query string. Bare `?follow` counts as true, as people write it. */
export const queryFlag = z
  .enum(["", "true", "1", "false", "0"])
  .transform((value) => value === "" || value === "true" || value === "1")
  .meta({ type: "boolean" });

export const queryInt = (minimum: number, maximum: number) =>
  z
    .string()
    .regex(/^\d{1,16}$/, "must be a whole number")
    .transform(Number)
    .refine((value) => value >= minimum && value <= maximum, `must be between ${minimum} and ${maximum}`)
    .meta({ type: "integer" });
