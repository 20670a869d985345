// The task stream with its frame: which span, what the colours mean, and rows for as many agents as there are.

import { html } from "../vendor/lit-html/lit-html.js";
import { ref } from "../vendor/lit-html/directives/ref.js";
import { Runs } from "../models/runs.js";
import { Lanes } from "../parts/lanes.js";
import { failureBox } from "../parts/notices.js";
import { plural } from "../text/units.js";

const SPANS = { "30s": ["30 s", 30], "2m": ["2 min", 120], "10m": ["10 min", 600], "1h": ["1 h", 3_600] };
const DEFAULT_SPAN = "2m";
const ROW_PX = 34;
const ROWS_MAX = 24;
const TYPES_SHOWN_MAX = 8;

export class TaskStream {
  /**
   * @param {import("../app/app.js").App} app
   * @param {string} agentId `-` for all
   */
  constructor(app, agentId) {
    this.#app = app;
    this.#agentId = agentId;
    this.#lanes = new Lanes({
      rowPx: agentId === "-" ? ROW_PX : ROW_PX * 3,
      open: (run) => app.go(app.route.href(["tasks", run.taskId])),
      changed: () => app.schedule(),
    });
  }

  #app;
  #agentId;
  #lanes;
  #runs = null;
  #span = "";
  #first = 0; // Row on top.
  #count = 0;
  #focusAt = -1;
  #element = null;
  #mount = ref((element) => (this.#element = element ?? null));

  close() {
    this.#runs?.close();
  }

  recolour() {
    this.#lanes.recolour();
  }

  drawn() {
    this.#lanes.drawn();
    if (this.#focusAt < 0) return;
    this.#element
      ?.querySelectorAll("[data-row]")
      [this.#focusAt - this.#first]?.focus({ preventScroll: true });
    this.#focusAt = -1;
  }

  move(step) {
    const rows = [...(this.#element?.querySelectorAll("[data-row]") ?? [])];
    const at = rows.indexOf(document.activeElement);
    this.#focusAt = Math.min(Math.max(at < 0 ? this.#first : this.#first + at + step, 0), this.#count - 1);
    if (this.#focusAt < this.#first) this.#first = this.#focusAt;
    if (this.#focusAt >= this.#first + ROWS_MAX) this.#first = this.#focusAt - ROWS_MAX + 1;
    this.#app.schedule();
    return this.#count > 0;
  }

  /** @param {string[]} agentIds rows, in this order */
  render(agentIds) {
    this.#choose(this.#app.route.query.span in SPANS ? this.#app.route.query.span : DEFAULT_SPAN);
    this.#count = agentIds.length;
    this.#first = Math.min(this.#first, Math.max(0, agentIds.length - ROWS_MAX));
    const shown = agentIds.slice(this.#first, this.#first + ROWS_MAX);
    const lanes = shown.map((agentId) => ({
      name: agentId,
      href: this.#app.route.href(["agents", agentId]),
      runs: this.#runs.of(agentId),
    }));
    const toMs = this.#app.pulse.nowMs;
    return html`<div class="stream" @wheel=${(event) => this.#scroll(event)} ${this.#mount}>
      <div class="stream-head">
        <nav class="segmented" aria-label="Span">
          ${Object.entries(SPANS).map(
            ([key, [name]]) =>
              html`<a href=${this.#app.route.with({ span: key })} aria-current=${key === this.#span}>${name}</a>`,
          )}
        </nav>
        ${this.#legend(lanes)}
      </div>
      ${this.#runs.poll.failure ? failureBox(this.#runs.poll.failure) : ""}
      ${this.#lanes.render({ lanes, fromMs: toMs - SPANS[this.#span][1] * 1_000, toMs })}
      ${this.#slider()}
    </div>`;
  }

  #choose(span) {
    if (span === this.#span) return;
    this.#span = span;
    this.#runs?.close();
    this.#runs = new Runs({
      client: this.#app.client,
      agentId: this.#agentId,
      spanMs: SPANS[span][1] * 1_000,
      nowMs: () => this.#app.pulse.nowMs,
      changed: () => this.#app.schedule(),
    });
  }

  #legend(lanes) {
    const types = [...new Set(lanes.flatMap((lane) => lane.runs.map((run) => run.type)))].sort();
    const more = types.length - TYPES_SHOWN_MAX;
    return html`<ul class="lane-legend">
      ${types.slice(0, TYPES_SHOWN_MAX).map((type) => html`<li><i class="swatch colour-${this.#lanes.colourOf(type)}"></i>${type}</li>`)}
      ${more > 0 ? html`<li class="muted">and ${plural(more, "other type")}</li>` : ""}
      <li><i class="swatch swatch-failed"></i>failed</li>
      <li><i class="swatch swatch-running"></i>running</li>
    </ul>`;
  }

  #slider() {
    if (this.#count <= ROWS_MAX) return "";
    return html`<label class="stream-slider">
      <span>${this.#first + 1}–${Math.min(this.#first + ROWS_MAX, this.#count)} of ${plural(this.#count, "agent")}</span>
      <input type="range" min="0" max=${this.#count - ROWS_MAX} .value=${String(this.#first)}
        @input=${(event) => this.#show(Number(event.target.value))} aria-label="First row" />
    </label>`;
  }

  #scroll(event) {
    if (this.#count <= ROWS_MAX || event.shiftKey) return;
    event.preventDefault();
    this.#show(
      this.#first + Math.sign(event.deltaY) * Math.max(1, Math.round(Math.abs(event.deltaY) / ROW_PX)),
    );
  }

  #show(first) {
    this.#first = Math.min(Math.max(first, 0), this.#count - ROWS_MAX);
    this.#app.schedule();
  }
}
