// A choice between a few views of the same thing; each is a link, so that it can be kept and shared.

import { html } from "../vendor/lit-html/lit-html.js";

/**
 * @param {string} label
 * @param {Record<string, string | [string, ...unknown[]]>} choices names by key
 * @param {string} chosen
 * @param {(key: string) => string} href
 */
export function segmented(label, choices, chosen, href) {
  return html`<nav class="segmented" aria-label=${label}>
    ${Object.entries(choices).map(
      ([key, name]) => html`<a href=${href(key)} aria-current=${key === chosen ? "true" : "false"}>
        ${Array.isArray(name) ? name[0] : name}</a>`,
    )}
  </nav>`;
}

/** A chip that is on or off and leads to the other. */
export function chip(content, isOn, href) {
  return html`<a class="chip" role="switch" aria-checked=${isOn} href=${href}>${content}</a>`;
}
