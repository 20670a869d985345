// Copying to the clipboard and saving as a file.

import { html } from "../vendor/lit-html/lit-html.js";
import { icon } from "./icons.js";

/** @param {string} text @param {string} [label] */
export function copyButton(text, label = "Copy") {
  return html`<button class="icon-button" title=${label} aria-label=${label} data-copy
    @click=${(event) => copy(event.currentTarget, text)}>${icon("copy")}</button>`;
}

/** @param {() => Blob} content @param {string} name */
export function saveButton(content, name) {
  return html`<button class="icon-button" title="Save as ${name}" aria-label="Save as ${name}" data-save
    @click=${() => save(content(), name)}>${icon("download")}</button>`;
}

async function copy(button, text) {
  // Without TLS a browser lends the clipboard to localhost only.
  const copied = await (navigator.clipboard?.writeText(text) ?? Promise.reject()).then(
    () => true,
    () => false,
  );
  button.dataset.told = copied ? "Copied" : "Needs HTTPS";
  setTimeout(() => delete button.dataset.told, 1_500);
}

function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
