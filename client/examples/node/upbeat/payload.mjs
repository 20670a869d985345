// Payloads and the values in them: bytes as they are, text as text, everything else as JSON.

const JSON_TYPE = "application/json";
const TEXT_TYPE = "text/plain; charset=utf-8";
const BYTES_TYPE = "application/octet-stream";

/** @param {unknown} value */
export function encode(value) {
  if (value instanceof Uint8Array) return { contentType: BYTES_TYPE, data: Buffer.from(value) };
  if (typeof value === "string") return { contentType: TEXT_TYPE, data: Buffer.from(value) };
  return { contentType: JSON_TYPE, data: Buffer.from(JSON.stringify(value ?? null)) };
}

/**
 * Throws SyntaxError for what says that it is JSON and is not.
 * @param {{contentType: string, data: Buffer} | null} payload
 */
export function decode(payload) {
  if (!payload) return undefined;
  const type = payload.contentType.split(";")[0].trim().toLowerCase();
  const data = Buffer.from(payload.data ?? []);
  if (type === JSON_TYPE || type.endsWith("+json")) return JSON.parse(data.toString());
  if (type.startsWith("text/")) return data.toString();
  return data.length ? data : undefined;
}
