// Cancel or retry by filter, as a conversation: count, confirm, do, tell.

import { html } from "../vendor/lit-html/lit-html.js";
import { Bulk, BULK } from "../models/bulk.js";
import { failureBox } from "../parts/notices.js";
import { count, plural } from "../text/units.js";
import { readFilter } from "../text/filter.js";

/**
 * Resolves when the dialog is closed.
 * @param {import("../app/app.js").App} app
 * @param {keyof BULK} kind
 * @param {string} filter
 */
export async function askBulk(app, kind, filter) {
  const bulk = new Bulk(app.client, kind, filter, () => app.schedule());
  bulk.count();
  await app.dialogs.show({
    title: `${bulk.kind.verb} every task that matches`,
    body: () => html`${meaning(bulk.kind, filter)} ${progress(bulk)}`,
    actions: (close) => actions(bulk, close),
  });
  bulk.stop();
}

function meaning(kind, filter) {
  const fields = new Set((readFilter(filter) ?? []).map(({ field }) => field));
  const implied = [
    !fields.has("state") && `${kind.meaning} ones`,
    !fields.has("parent") && "those without a parent",
  ].filter(Boolean);
  return html`<p>${filter ? html`<code class="filter">${filter}</code>` : "No filter: all tasks."}</p>
    ${implied.length ? html`<p class="muted">Only ${implied.join(", ")}, as the filter says nothing else.</p>` : ""}`;
}

function progress(bulk) {
  const { kind, matched, done, problemCount, problems, state } = bulk;
  if (state === "failed")
    return html`${done ? html`<p>${plural(done, "task")} ${kind.past} before it failed.</p>` : ""}${failureBox(bulk.failure)}`;
  if (state === "counting") return html`<p class="bulk-count" role="status">Counting… ${count(matched)}</p>`;
  if (state === "counted") {
    return html`<p class="bulk-count" role="status">${matched ? html`<b>${plural(matched, "task")}</b> would be ${kind.past}.` : "No task matches; there is nothing to do."}</p>`;
  }
  return html`<p class="bulk-count" role="status"><b>${count(done)}</b> of ${count(matched)} ${kind.past}${state === "doing" ? "…" : "."}</p>
    <progress max=${Math.max(matched, 1)} .value=${done + problemCount} aria-label="Progress"></progress>
    ${
      problemCount
        ? html`<p>${plural(problemCount, "task")} could not be:</p>
      <ul class="problems">${problems.map(({ taskId, error }) => html`<li><code>${taskId}</code> ${error?.message}</li>`)}</ul>`
        : ""
    }`;
}

function actions(bulk, close) {
  if (bulk.state === "doing") return html`<button class="button" @click=${() => bulk.stop()}>Stop</button>`;
  if (bulk.state !== "counted" || !bulk.matched) {
    return html`<button class="button" autofocus @click=${() => close()}>${bulk.state === "counting" ? "Back" : "Close"}</button>`;
  }
  const isDanger = bulk.kind === BULK.cancel;
  return html`<button class="button" autofocus @click=${() => close()}>Back</button>
    <button class="button ${isDanger ? "button-danger" : "button-primary"}" @click=${() => bulk.run()}>
      ${bulk.kind.verb} ${plural(bulk.matched, "task")}</button>`;
}
