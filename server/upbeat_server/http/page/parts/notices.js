// What stands where there is nothing yet, nothing at all, or something went wrong.

import { html } from "../vendor/lit-html/lit-html.js";
import { FeedState } from "../remote/feed.js";
import { copyButton } from "./copying.js";

/** While the first answer is on its way: as many grey lines as there will be rows, roughly. */
export function loading(lines = 4) {
  return html`<div class="loading" role="status" aria-label="Loading">
    ${Array.from({ length: lines }, () => html`<i></i>`)}
  </div>`;
}

/**
 * Nothing is there: why, and what to do next.
 * @param {{ title: string, text?: unknown, command?: string }} what
 */
export function empty({ title, text = "", command = "" }) {
  return html`<div class="empty">
    <h2>${title}</h2>
    ${text ? html`<p>${text}</p>` : ""}
    ${command ? html`<pre class="command"><code>${command}</code>${copyButton(command)}</pre>` : ""}
  </div>`;
}

/** @param {import("../remote/failure.js").Failure} failure */
export function failureBox(failure) {
  // One fault is the message already.
  const faults = failure.violations.filter(({ description }) => !failure.message.includes(description));
  return html`<div class="failure" role="alert">
    <p><strong>${failure.message}</strong></p>
    ${faults.map(({ field, description }) => html`<p><code>${field}</code> ${description}</p>`)}
    <p class="muted">${failure.remedy}${failure.reason ? html` <code>${failure.reason}</code>` : ""}</p>
  </div>`;
}

/** What is wrong with a feed or poll, if anything; a feed that only rests is fine. */
export function troubleOf(source) {
  if (!source?.failure || source.state === FeedState.LIVE) return "";
  return failureBox(source.failure);
}
