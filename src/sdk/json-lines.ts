/** Reads one JSON value per line, whatever way the bytes are cut. */
export async function* jsonLines<T>(source: AsyncIterable<Uint8Array | string>): AsyncGenerator<T> {
  const decoder = new TextDecoder();
  let rest = "";
  for await (const chunk of source) {
    rest += typeof chunk === "string" ? chunk : decoder.decode(chunk, { stream: true });
    let start = 0;
    for (let end = rest.indexOf("\n"); end >= 0; end = rest.indexOf("\n", start)) {
      if (end > start) yield JSON.parse(rest.slice(start, end)) as T;
      start = end + 1;
    }
    rest = rest.slice(start);
  }
  if (rest.trim() !== "") yield JSON.parse(rest) as T;
}
