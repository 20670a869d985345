// Small drawings. States have a shape each, so that colour is never all that tells them apart.

import { html, svg } from "../vendor/lit-html/lit-html.js";

const RING = svg`<circle cx="8" cy="8" r="6" />`;

const SHAPES = {
  // States of tasks.
  PENDING: svg`<circle cx="8" cy="8" r="6" stroke-dasharray="2.4 2.3" />`,
  QUEUED: svg`${RING}<path d="M8 4.8V8l2.2 1.6" />`,
  RUNNING: svg`${RING}<path d="M6.6 5.4v5.2L10.8 8z" class="solid" />`,
  COMPLETED: svg`<circle cx="8" cy="8" r="6.6" class="solid" /><path d="m5.2 8.2 2 2 3.6-4" class="cut" />`,
  FAILED: svg`<path d="M8 .9 15.1 8 8 15.1.9 8z" class="solid" /><path d="M8 4.6v4m0 2.2v.2" class="cut" />`,
  CANCELLED: svg`${RING}<path d="m3.9 12.1 8.2-8.2" />`,
  WAITING: svg`${RING}<path d="M6.5 5.8v4.4m3-4.4v4.4" />`,
  // Outcomes of attempts that no task can have.
  TIMED_OUT: svg`<path d="M4 2h8M4 14h8M5 2c0 4 6 8 6 12M11 2c0 4-6 8-6 12" />`,
  LEASE_LOST: svg`<path d="M6.5 9.5 5 11a2.5 2.5 0 0 1-3.5-3.5L4 5m5.5 1.5L11 5a2.5 2.5 0 0 1 3.5 3.5L12 11M2.5 2.5l11 11" />`,
  RETURNED: svg`<path d="M5.5 3 2.5 6l3 3M2.5 6h7a4 4 0 0 1 0 8h-3" />`,
  HEDGED: svg`<path d="M2 5.5h9M8.5 3 11 5.5 8.5 8M5 11h9m-2.5-2.5L14 11l-2.5 2.5" />`,
  // States of agents.
  CONNECTED: svg`<circle cx="8" cy="8" r="6.6" class="solid" />`,
  SUSPECT: svg`<path d="M8 1.8 15 14H1z" /><path d="M8 6.4v3.4m0 2v.2" />`,
  DRAINING: svg`${RING}<path d="M8 4.8v6m-2.4-2.3L8 10.9l2.4-2.4" />`,
  DISCONNECTED: svg`${RING}<path d="m5.8 5.8 4.4 4.4m0-4.4-4.4 4.4" />`,
  // Places and tools.
  pulse: svg`<path d="M1 9h3l2-6 3.4 10L11.6 7l1 2H15" />`,
  tasks: svg`<path d="M6 3.5h8.5M6 8h8.5M6 12.5h8.5" /><path d="m1.4 3.4.9.9 1.6-1.8M1.4 7.9l.9.9 1.6-1.8M1.4 12.4l.9.9 1.6-1.8" />`,
  agents: svg`<rect x="2.5" y="4.5" width="11" height="8.5" rx="2" /><path d="M8 4.5V2M5.8 8.2v1.2m4.4-1.2v1.2M.8 8v2m14.4-2v2" />`,
  bus: svg`<circle cx="8" cy="8" r="1.6" class="solid" /><path d="M4.6 11.4a4.8 4.8 0 0 1 0-6.8m6.8 0a4.8 4.8 0 0 1 0 6.8M2.3 13.7a8 8 0 0 1 0-11.4m11.4 0a8 8 0 0 1 0 11.4" />`,
  "theme-system": svg`${RING}<path d="M8 2v12a6 6 0 0 0 0-12z" class="solid" />`,
  "theme-light": svg`<circle cx="8" cy="8" r="3" /><path d="M8 1v1.4M8 13.6V15M1 8h1.4M13.6 8H15M3 3l1 1m8 8 1 1M3 13l1-1m8-8 1-1" />`,
  "theme-dark": svg`<path d="M13.6 9.7A6 6 0 0 1 6.3 2.4a6 6 0 1 0 7.3 7.3z" />`,
  leave: svg`<path d="M6 2H3v12h3M7 8h8m-3-3 3 3-3 3" />`,
  copy: svg`<rect x="5.5" y="5.5" width="8.5" height="8.5" rx="1.5" /><path d="M10.5 3.5V3A1.5 1.5 0 0 0 9 1.5H3A1.5 1.5 0 0 0 1.5 3v6A1.5 1.5 0 0 0 3 10.5h.5" />`,
  download: svg`<path d="M8 2v8m-3.2-3L8 10.2 11.2 7M2.5 13.5h11" />`,
  search: svg`<circle cx="7" cy="7" r="4.6" /><path d="m10.6 10.6 3.6 3.6" />`,
  up: svg`<path d="m9.5 3-5 5 5 5" />`,
  crown: svg`<path d="M2 12.5h12l1-7.5-4 3-3-5-3 5-4-3z" class="solid" />`,
};

/** @param {string} name @param {string} [label] read out in its place; without one it is decoration */
export function icon(name, label = "") {
  return html`<svg class="icon" viewBox="0 0 16 16" role=${label ? "img" : "presentation"}
    aria-hidden=${label ? "false" : "true"} aria-label=${label}>${SHAPES[name] ?? RING}</svg>`;
}

/** The same inside another drawing, centred on a point. */
export function shape(name, x, y) {
  return svg`<g class="icon state-${name}" transform="translate(${x - 8} ${y - 8})">${SHAPES[name] ?? RING}</g>`;
}
