// Server-sent events read from a fetch: EventSource cannot send a bearer token.

import { Failure } from "./failure.js";

/**
 * The messages of a stream, parsed. Ends with the stream; an `error` event is thrown as a Failure.
 * @param {ReadableStream<Uint8Array>} body
 * @yields {object}
 */
export async function* readEvents(body) {
  let name = "";
  let data = [];
  for await (const line of linesOf(body)) {
    if (line === "") {
      if (data.length) {
        const message = JSON.parse(data.join("\n"));
        if (name === "error") throw Failure.from(message.error ?? message);
        yield message;
      }
      name = "";
      data = [];
      continue;
    }
    const colon = line.indexOf(":");
    if (colon === 0) continue; // A comment keeps the connection alive.
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (field === "data") data.push(value);
    else if (field === "event") name = value;
  }
}

async function* linesOf(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let pieces = []; // Of a line that is not complete: joined once, however long it is.
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      const lines = value.split("\n");
      pieces.push(lines[0]);
      for (const next of lines.slice(1)) {
        yield pieces.join("").replace(/\r$/, "");
        pieces = [next];
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}
