// The tables of the overview on what is asked for: types, which can be paused, and limits that tasks share.

import { html } from "../vendor/lit-html/lit-html.js";
import { count, duration, number, plural, rate, seconds } from "../text/units.js";
import { withValue } from "../text/filter.js";
import { panel } from "./overview_tables.js";

const SHOWN_MAX = 100; // As many as Stats tells of.

/** Unfinished tasks by type. @param {object} stats @param {import("../app/app.js").App} app */
export function types(stats, app) {
  const lines = stats.types ?? [];
  if (!lines.length) return "";
  return panel(
    "Types",
    html`<div class="table-frame"><table class="table">
    <thead><tr><th>Type</th><th class="figure">Pending</th><th class="figure">Queued</th>
      <th class="figure">Running</th><th></th></tr></thead>
    <tbody>${lines.map((line) => typeRow(line, app))}</tbody>
  </table></div>${bound(lines, "types: those that are paused, and those with most unfinished tasks")}`,
  );
}

function typeRow(line, app) {
  const { type, paused } = line;
  const change = () => (paused ? resume(type, app) : pause(type, line, app));
  return html`<tr>
    <td class="cell-agent" title=${type}>
      <a class="plain" href=${app.route.href(["tasks"], { filter: withValue("", "type", type) })}>${type}</a>
      ${paused ? html`<span class="badge">Paused</span>` : ""}
      ${number(line.unserved) ? html`<span class="bad">no agent for ${count(line.unserved)}</span>` : ""}
    </td>
    <td class="figure">${count(line.pending)}</td>
    <td class="figure">${count(line.queued)}</td>
    <td class="figure">${count(line.running)}</td>
    <td class="figure"><button class="button button-quiet" @click=${change}
      aria-label="${paused ? "Resume" : "Pause"} ${type}">${paused ? "Resume" : "Pause…"}</button></td>
  </tr>`;
}

async function pause(type, line, app) {
  const isSure = await app.dialogs.confirm({
    title: `Pause ${type}?`,
    text: html`No task of this type is handed out until somebody resumes it: ${plural(line.queued, "task")}
      now in the queue and all that come later wait. What runs goes on.`,
    action: "Pause it",
    isDanger: true,
  });
  if (isSure) await rule(type, "pause", `Tasks of the type ${type} wait now.`, app);
}

function resume(type, app) {
  return rule(type, "resume", `Tasks of the type ${type} are handed out again.`, app);
}

function rule(type, verb, told, app) {
  return app.attempt(() => app.client.post(`types/${encodeURIComponent(type)}:${verb}`), told);
}

/** What is used of each limit. @param {object} stats */
export function limits(stats) {
  const lines = stats.limits ?? [];
  if (!lines.length) return "";
  return panel(
    "Limits that tasks share",
    html`<div class="table-frame"><table class="table">
    <thead><tr><th>Key</th><th class="figure">Tasks</th><th>Running</th><th>Started lately</th><th></th></tr></thead>
    <tbody>
      ${lines.map(
        (line) => html`<tr>
          <td class="cell-agent" title=${line.key}>${line.key}</td>
          <td class="figure">${count(line.tasks)}</td>
          <td>${use(line.running, line.maxRunning)}</td>
          <td title=${number(line.perSecond) ? `At most ${rate(line.perSecond)} a second` : ""}>${starts(line)}</td>
          <td>${line.exhausted ? html`<span class="badge">Used up</span>` : ""}</td>
        </tr>`,
      )}
    </tbody>
  </table></div>${bound(lines, "limits: those that hold tasks back, and those that most tasks name")}`,
  );
}

function use(used, most) {
  if (!number(most)) return count(used);
  return html`<meter min="0" max=${number(most)} .value=${number(used)}></meter> ${count(used)} of ${count(most)}`;
}

function starts(line) {
  if (!number(line.startsMax)) return html`<span class="muted">any number</span>`;
  return html`${use(line.starts, line.startsMax)} in ${duration(seconds(line.window))}`;
}

function bound(lines, which) {
  return lines.length < SHOWN_MAX ? "" : html`<p class="muted panel-text">The first ${SHOWN_MAX} ${which}.</p>`;
}
