// Short messages at the edge: what an action came to. They are read out, and leave by themselves.

import { html } from "../vendor/lit-html/lit-html.js";

const STAY_MS = 6_000;
const SHOWN_MAX = 4;

export class Toasts {
  /** @param {() => void} changed */
  constructor(changed) {
    this.#changed = changed;
  }

  #changed;
  #shown = [];

  tell(text) {
    this.#show({ text, kind: "done" });
  }

  /** @param {import("../remote/failure.js").Failure} failure */
  fail(failure) {
    this.#show({ text: failure.message, remedy: failure.remedy, kind: "failed" });
  }

  render() {
    return html`<div class="toasts" role="status" aria-live="polite">
      ${this.#shown.map(
        (toast) => html`<div class="toast toast-${toast.kind}">
          <p>${toast.text}</p>
          ${toast.remedy ? html`<p class="muted">${toast.remedy}</p>` : ""}
          <button class="icon-button" aria-label="Dismiss" @click=${() => this.#drop(toast)}>×</button>
        </div>`,
      )}
    </div>`;
  }

  #show(toast) {
    this.#shown = [...this.#shown, toast].slice(-SHOWN_MAX);
    setTimeout(() => this.#drop(toast), STAY_MS);
    this.#changed();
  }

  #drop(toast) {
    this.#shown = this.#shown.filter((other) => other !== toast);
    this.#changed();
  }
}
