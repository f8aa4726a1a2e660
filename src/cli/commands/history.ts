import { Command } from "commander";
import { Image, type ImageHistoryEntry } from "../../sdk/index.ts";
import { cut } from "../display-width.ts";
import { formatAge, formatBytes } from "../quantity.ts";
import { printTable } from "../table.ts";
import { printable, printJson } from "../terminal.ts";

const HELP = `
Newest first, as docker history has it.

Examples:
  $ msb history python:3.12
  $ msb history --no-trunc my/app`;

interface HistoryFlags {
  trunc: boolean;
  json?: boolean;
}

const CREATED_BY_COLUMNS = 60;

export function command(): Command {
  return new Command("history")
    .description("Show the steps that made an image.")
    .argument("<IMAGE>", "name or digest")
    .option("--no-trunc", "show each step whole")
    .option("--json", "print JSON")
    .addHelpText("after", HELP)
    .action(async (name: string, { trunc, json }: HistoryFlags) => {
      const steps = (await Image.history(name)).reverse();
      if (json) printJson(steps);
      else
        printTable(
          ["AGE", "SIZE", "STEP"],
          steps.map((step) => row(step, trunc)),
        );
    });
}

function row({ created, createdBy, comment, sizeBytes }: ImageHistoryEntry, trunc: boolean): string[] {
  const age = created === undefined || Number.isNaN(Date.parse(created)) ? "" : formatAge(created);
  const step = printable((createdBy ?? comment ?? "").replace(/\s+/g, " ").trim());
  return [age, formatBytes(sizeBytes), trunc ? cut(step, CREATED_BY_COLUMNS) : step];
}
