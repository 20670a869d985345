// The filter of ListTasks, as far as chips change it: comparisons joined by AND.

const TOKEN = /\s*(?:"((?:[^"\\]|\\.)*)"|(>=|<=|!=|[=<>])|([^\s"=<>!]+))/sy;

/** @typedef {{ field: string, sign: string, value: string }} Comparison */

/**
 * The comparisons of a filter; null when it cannot be read, which the server says better.
 * @param {string} text
 * @returns {Comparison[] | null}
 */
export function readFilter(text) {
  const tokens = tokensOf(text.trimEnd());
  if (tokens === null) return null;
  const comparisons = [];
  for (let at = 0; at < tokens.length; at += 3) {
    if (at && tokens[at++]?.value !== "AND") return null;
    const [field, sign, value] = tokens.slice(at, at + 3);
    if (!value || sign.kind !== "sign") return null;
    comparisons.push({ field: field.value, sign: sign.value, value: value.value });
  }
  return comparisons;
}

/** @param {Comparison[]} comparisons */
export function writeFilter(comparisons) {
  return comparisons.map(({ field, sign, value }) => `${field} ${sign} ${quoted(value)}`).join(" AND ");
}

/** What a field is compared with by `=`; undefined when it is not. */
export function valueOf(text, field) {
  return readFilter(text)?.find((comparison) => comparison.field === field && comparison.sign === "=")?.value;
}

/** The filter with a field compared with another value, or with none (null). A filter that cannot be read is replaced. */
export function withValue(text, field, value) {
  const others = (readFilter(text) ?? []).filter((comparison) => comparison.field !== field);
  return writeFilter(value === null ? others : [...others, { field, sign: "=", value }]);
}

function tokensOf(text) {
  const tokens = [];
  TOKEN.lastIndex = 0;
  while (TOKEN.lastIndex < text.length) {
    const match = TOKEN.exec(text);
    if (!match) return null;
    const [, quotedText, sign, word] = match;
    if (quotedText !== undefined) tokens.push({ kind: "text", value: quotedText.replace(/\\(.)/gs, "$1") });
    else tokens.push(sign ? { kind: "sign", value: sign } : { kind: "word", value: word });
  }
  return tokens;
}

function quoted(value) {
  return /^[A-Za-z0-9_.:/-]+$/.test(value) && value !== "AND"
    ? value
    : `"${value.replace(/["\\]/g, "\\$&")}"`;
}
