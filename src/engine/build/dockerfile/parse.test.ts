import fc from "fast-check";
import { expect, test } from "vitest";
import { SandboxError } from "../../../contract/index.ts";
import { parseDockerfile } from "./parse.ts";

const parse = (text: string) => parseDockerfile(text).instructions;
const second = (line: string) => parse(`FROM a\n${line}`)[1];

test("instructions with their places", () => {
  const text = `# a comment
ARG V=1
FROM --platform=linux/amd64 debian:$V AS Base

  RUN one && \\
    # in between
    two
COPY ["a b", "c"]
`;
  expect(parse(text)).toMatchObject([
    { keyword: "ARG", at: { line: 2, column: 1 }, args: [{ name: "V", value: { text: "1" } }] },
    {
      keyword: "FROM",
      image: { text: "debian:$V", at: { line: 3, column: 29 } },
      stage: "base",
      platform: { text: "linux/amd64" },
    },
    { keyword: "RUN", at: { line: 5, column: 3 }, command: { form: "shell", script: "one &&     two" } },
    { keyword: "COPY", sources: [{ text: "a b" }], destination: { text: "c" } },
  ]);
});

test("the exec form is JSON, and what is no JSON is for the shell", () => {
  expect(second('CMD ["a", "b c", "\\u0041"]')).toMatchObject({
    command: { form: "exec", argv: ["a", "b c", "A"] },
  });
  expect(second("CMD [ -f x ] && y")).toMatchObject({ command: { form: "shell", script: "[ -f x ] && y" } });
  expect(second("ENTRYPOINT exec top -b")).toMatchObject({
    command: { form: "shell", script: "exec top -b" },
  });
});

test("values keep their quotes until they are put in", () => {
  expect(second(`ENV A=b "C"=d\\ e F='g h'`)).toMatchObject({
    pairs: [
      { name: { text: "A" }, value: { text: "b" } },
      { name: { text: '"C"' }, value: { text: "d\\ e", at: { line: 2, column: 13 } } },
      { name: { text: "F" }, value: { text: "'g h'" } },
    ],
  });
  expect(second("ENV A all the  rest")).toMatchObject({
    pairs: [{ name: { text: "A" }, value: { text: "all the  rest" } }],
  });
});

test("heredocs of RUN and COPY", () => {
  expect(second("RUN <<EOF\na\n b\nEOF")).toMatchObject({ command: { script: "a\n b\n" } });
  expect(second("RUN <<-EOF\n\ta\n\tEOF")).toMatchObject({ command: { script: "a\n" } });
  expect(second("RUN cat <<EOF > /x\na\nEOF")).toMatchObject({
    command: { script: "cat <<EOF > /x\na\nEOF\n" },
  });
  expect(second('COPY <<one <<"two" /d/\n$A\none\n$B\ntwo')).toMatchObject({
    sources: [
      { name: "one", contents: "$A\n", expand: true },
      { name: "two", contents: "$B\n", expand: false },
    ],
    destination: { text: "/d/" },
  });
});

test("what looks like a heredoc and what an empty one is", () => {
  const scripts = (text: string) =>
    parse(`FROM a\n${text}\nRUN next`).map((one) => ("command" in one ? one.command : 0));
  const shell = (script: string) => ({ form: "shell", script });
  const next = shell("next");
  expect(scripts("RUN cat <<EOF > /x\nEOF")).toEqual([0, shell("cat <<EOF > /x\nEOF\n"), next]);
  expect(scripts("RUN <<EOF\nEOF")).toEqual([0, shell(""), next]);
  expect(scripts("RUN cat <<-A <<B\n\t1\n\tA\n# 2 \\\n\nB")).toEqual([
    0,
    shell("cat <<-A <<B\n\t1\n\tA\n# 2 \\\n\nB\n"),
    next,
  ]);
  expect(scripts("RUN a \\\n# c\n\n <<EOF && \\\n b\nx \\\nFROM y\nEOF")).toEqual([
    0,
    shell("a  <<EOF &&  b\nx \\\nFROM y\nEOF\n"),
    next,
  ]);
  for (const line of ["echo $((1 << 3))", "echo $((1<<EOF))", 'cat <<< "x"', "echo '<<EOF'"]) {
    expect(scripts(`RUN ${line}`)).toEqual([0, shell(line), next]);
  }
});

test("cache mounts, and another escape character", () => {
  expect(second("RUN --mount=type=cache,target=/c,id=x,mode=0700,uid=5,sharing=locked make")).toMatchObject({
    mounts: [{ target: "/c", id: "x", mode: 0o700, uid: 5, at: { line: 2, column: 5 } }],
    command: { script: "make" },
  });
  const parsed = parseDockerfile("# escape=`\nFROM a\nRUN one `\n two");
  expect(parsed).toMatchObject({ escapeChar: "`", instructions: [{}, { command: { script: "one  two" } }] });
  expect(parse("\uFEFFFROM a\r\nRUN x \\\r\n y\r\n")).toMatchObject([{}, { command: { script: "x  y" } }]);
  expect(second("COPY --link --chown=1:2 --chmod=755 a b")).toMatchObject({
    chown: { text: "1:2" },
    chmod: { text: "755" },
  });
});

test.each<[string, "invalid_argument" | "unsupported", number, number, RegExp]>([
  ["FROM a\nHEALTHCHECK CMD x", "unsupported", 2, 1, /HEALTHCHECK/],
  ["FROM a\n\n  ONBUILD RUN x", "unsupported", 3, 3, /ONBUILD/],
  ["FROM a\nBOGUS x", "invalid_argument", 2, 1, /"BOGUS"/],
  ["FROM a b", "invalid_argument", 1, 8, /FROM wants/],
  ["FROM a AS b c", "invalid_argument", 1, 13, /FROM wants/],
  ["FROM a AS 0x", "invalid_argument", 1, 11, /no name/],
  ["FROM", "invalid_argument", 1, 1, /needs arguments/],
  ["FROM --pull=x a", "unsupported", 1, 6, /--pull/],
  ["FROM a\nRUN []", "invalid_argument", 2, 1, /names no program/],
  ['FROM a\nRUN ["", "x"]', "invalid_argument", 2, 1, /names no program/],
  ["FROM a\nRUN", "invalid_argument", 2, 1, /needs arguments/],
  ["FROM a\nRUN --mount=type=secret,id=a x", "unsupported", 2, 5, /type=secret/],
  ["FROM a\nRUN --mount=type=cache x", "invalid_argument", 2, 5, /target/],
  ["FROM a\nRUN --mount=type=cache,target=/a,from=b x", "unsupported", 2, 5, /"from"/],
  ["FROM a\nRUN --mount=type=cache,target=/a,sharing=private x", "unsupported", 2, 5, /private/],
  ["FROM a\nRUN --network=host x", "unsupported", 2, 5, /host/],
  ["FROM a\nRUN --security=insecure x", "unsupported", 2, 5, /--security/],
  ["FROM a\nRUN <<EOF\n#!/usr/bin/python3\nEOF", "unsupported", 3, 1, /interpreter/],
  ["FROM a\nRUN <<EOF\nnever ends", "invalid_argument", 2, 5, /no end/],
  ["FROM a\nRUN x # <<EOF\nRUN y", "invalid_argument", 2, 9, /no end/],
  ["FROM a\nRUN cat <<- EOF\nRUN y", "unsupported", 2, 5, /where this instruction ends/],
  ['FROM a\nRUN echo "a <<EOF b"\nRUN y', "unsupported", 2, 5, /where this instruction ends/],
  ["FROM a\nCOPY <<A <<B /x/\n1\nA\n2", "invalid_argument", 2, 10, /heredoc B/],
  ["FROM a\nCOPY a", "invalid_argument", 2, 1, /sources and a destination/],
  ["FROM a\nCOPY --parents a b", "unsupported", 2, 6, /--parents/],
  ["FROM a\nCOPY --exclude=x a b", "unsupported", 2, 6, /--exclude/],
  ["FROM a\nADD --checksum=x a b", "unsupported", 2, 5, /--checksum/],
  ["FROM a\nADD https://host.test/f /", "unsupported", 2, 5, /cannot fetch/],
  ["FROM a\nADD git@host.test:x.git /", "unsupported", 2, 5, /cannot fetch/],
  ["FROM a\nARG 1=x", "invalid_argument", 2, 5, /"1"/],
  ["FROM a\nENV A", "invalid_argument", 2, 5, /NAME=value/],
  ["FROM a\nENV A=b C", "invalid_argument", 2, 9, /NAME=value/],
  ["FROM a\nSHELL sh", "invalid_argument", 2, 1, /list/],
  ["# syntax=someone/else\nFROM a", "unsupported", 1, 1, /someone\/else/],
])("refused with its place: %s", (text, code, line, column, message) => {
  expect(() => parse(text)).toThrow(
    expect.objectContaining({ code, message: expect.stringMatching(message), details: { line, column } }),
  );
});

test("a text without FROM, or one that is too large, is refused as a whole", () => {
  expect(() => parse("RUN x")).toThrow(/no FROM/);
  expect(() => parse("")).toThrow(/no FROM/);
  expect(() => parse(`FROM a\n#${"x".repeat(2 ** 20)}`)).toThrow(/characters/);
  expect(() => parse("FROM a\0")).toThrow(/NUL/);
  expect(() => parse(`FROM a\n${"RUN x\n".repeat(10_001)}`)).toThrow(/more than 10000/);
});

test("any text is a Dockerfile or a SandboxError", () => {
  const piece = fc.oneof(
    fc.constantFrom(
      ..."FROM a|RUN x|COPY a b|ENV A=b|<<EOF|EOF|\\|\n|'|\"|$|{|}|[|]|--mount=|type=cache,target=/c|#|escape=`|AS| |\t|=|ARG|ADD".split(
        "|",
      ),
    ),
    fc.string({ maxLength: 5 }),
  );
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 30 }), (pieces) => {
      try {
        parse(pieces.join(""));
      } catch (error) {
        expect(error).toBeInstanceOf(SandboxError);
      }
    }),
    { numRuns: 5000, seed: 4, interruptAfterTimeLimit: 20_000 },
  );
});
