import { command } from "./command.ts";

/** Compiles the guest agent: one static program, and the same bytes wherever the sources lie. */
export function buildAgent(sources: string, output: string): void {
  const reproducible = ["-trimpath", "-buildvcs=false", "-ldflags=-s -w -buildid="];
  command("go", ["build", ...reproducible, "-o", output, "."], {
    cwd: sources,
    // GOTOOLCHAIN: the Go that is installed, never one that it would fetch. GOAMD64: any x86-64 host.
    env: {
      CGO_ENABLED: "0",
      GOOS: "linux",
      GOARCH: "amd64",
      GOAMD64: "v1",
      GOTOOLCHAIN: "local",
      GOWORK: "off",
    },
  });
}

export function goVersion(): string {
  return command("go", ["env", "GOVERSION"], { env: { GOTOOLCHAIN: "local" } })
    .toString()
    .trim();
}
