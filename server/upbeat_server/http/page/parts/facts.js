// Names and values beside the main thing; what has no value is left out.

import { html } from "../vendor/lit-html/lit-html.js";

/** @param {string} title @param {[string, unknown][]} lines */
export function facts(title, lines) {
  const told = lines.filter(([, value]) => value);
  if (!told.length) return "";
  return html`<section class="panel"><h2>${title}</h2>
    <dl class="facts">${told.map(([name, value]) => html`<div><dt>${name}</dt><dd>${value}</dd></div>`)}</dl>
  </section>`;
}

/** @param {Record<string, string>} [given] */
export function labels(given = {}) {
  const entries = Object.entries(given);
  if (!entries.length) return "";
  return html`<section class="panel"><h2>Labels</h2>
    <ul class="labels">${entries.map(([key, value]) => html`<li><span>${key}</span>${value}</li>`)}</ul>
  </section>`;
}
