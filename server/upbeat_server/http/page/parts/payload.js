// An input or an output: JSON in colours, text as it is, anything else as its first bytes.

import { html } from "../vendor/lit-html/lit-html.js";
import { guard } from "../vendor/lit-html/directives/guard.js";
import { bytes } from "../text/units.js";
import { copyButton, saveButton } from "./copying.js";

const SHOWN_CHARACTERS_MAX = 100_000;
const COLOURED_CHARACTERS_MAX = 20_000; // Each word is an element.
const SHOWN_BYTES_MAX = 512;
const TOKEN = /("(?:[^"\\]|\\.)*")(\s*:)?|\b(true|false|null)\b|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g;

/** The content of a payload: what it is, as text where it is one, and as bytes to save. */
export function contentOf(payload) {
  const contentType = payload.contentType || "application/octet-stream";
  if (payload.json !== undefined) {
    const text = JSON.stringify(payload.json, null, 2);
    return { kind: "json", contentType: "application/json", text, raw: new TextEncoder().encode(text) };
  }
  const raw = Uint8Array.from(atob(payload.data ?? ""), (character) => character.charCodeAt(0));
  const text = decoded(raw);
  if (text === null) return { kind: "bytes", contentType, text: hex(raw), raw };
  return {
    kind: /json/.test(contentType) ? "json" : "text",
    contentType,
    text: indented(text, contentType),
    raw,
  };
}

/**
 * @param {object} payload
 * @param {string} name of the file it is saved as, without an ending
 */
export function payloadBox(payload, name) {
  return html`${guard([payload], () => box(payload, name))}`; // It never changes; it may be long.
}

function box(payload, name) {
  const content = contentOf(payload);
  if (!content.raw.length) return html`<p class="muted">Empty.</p>`;
  const ending = { json: "json", text: "txt", bytes: "bin" }[content.kind];
  const shown = content.text.slice(0, SHOWN_CHARACTERS_MAX);
  const isColoured = content.kind === "json" && shown.length <= COLOURED_CHARACTERS_MAX;
  const isCut =
    shown.length < content.text.length || (content.kind === "bytes" && content.raw.length > SHOWN_BYTES_MAX);
  return html`<div class="payload">
    <div class="payload-head">
      <span>${content.contentType}</span><span>${bytes(content.raw.length)}</span>
      ${isCut ? html`<span>beginning only; save it for the rest</span>` : ""}
      <span class="spring"></span>
      ${content.kind === "bytes" ? "" : copyButton(content.text)}
      ${saveButton(() => new Blob([content.raw], { type: content.contentType }), `${name}.${ending}`)}
    </div>
    <pre class="code" tabindex="0" aria-label="Content"><code>${isColoured ? coloured(shown) : shown}</code></pre>
  </div>`;
}

/** A small payload on one line. */
export function payloadLine(payload) {
  if (!payload) return "";
  const { kind, text } = contentOf(payload);
  if (kind === "bytes") return text.slice(0, 48);
  const line = text.replace(/\s+/g, " ").trim();
  return /^"(?:[^"\\]|\\.)*"$/.test(line) ? JSON.parse(line) : line;
}

function decoded(raw) {
  try {
    const text = new TextDecoder("utf-8", { fatal: true }).decode(raw);
    return text.includes("\0") ? null : text;
  } catch {
    return null;
  }
}

function indented(text, contentType) {
  if (!/json/.test(contentType)) return text;
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}

function hex(raw) {
  const lines = [];
  for (let at = 0; at < Math.min(raw.length, SHOWN_BYTES_MAX); at += 16) {
    const row = [...raw.slice(at, at + 16)].map((byte) => byte.toString(16).padStart(2, "0"));
    lines.push(`${at.toString(16).padStart(6, "0")}  ${row.join(" ")}`);
  }
  return lines.join("\n");
}

function coloured(text) {
  const parts = [];
  let last = 0;
  for (const match of text.matchAll(TOKEN)) {
    const [all, string, colon, word] = match;
    parts.push(text.slice(last, match.index));
    const kind = string ? (colon ? "key" : "string") : word ? "word" : "number";
    parts.push(html`<span class="json-${kind}">${string ?? all}</span>`, colon ?? "");
    last = match.index + all.length;
  }
  return [...parts, text.slice(last)];
}
