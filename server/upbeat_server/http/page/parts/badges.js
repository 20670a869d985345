// States and priorities as small labels: shape, colour and word.

import { html, svg } from "../vendor/lit-html/lit-html.js";
import { sentenceCase } from "../text/words.js";
import { icon } from "./icons.js";

const BARS = { LOW: 1, NORMAL: 2, HIGH: 3, CRITICAL: 4 };

/** @param {string} state of a task, an attempt or an agent */
export function stateBadge(state) {
  return html`<span class="badge state-${state}">${icon(state)}${sentenceCase(state)}</span>`;
}

/** @param {string} priority */
export function priorityBadge(priority) {
  const bars = BARS[priority] ?? 2;
  return html`<span class="priority priority-${priority}">
    <svg class="priority-bars" viewBox="0 0 16 12" aria-hidden="true">
      ${[1, 2, 3, 4].map((bar) => column(bar, bar <= bars))}
    </svg>${sentenceCase(priority)}</span>`;
}

function column(place, isSet) {
  return svg`<rect x=${(place - 1) * 4} y=${12 - place * 3} width="3" height=${place * 3} rx="0.8"
    class=${isSet ? "set" : "unset"} />`;
}
