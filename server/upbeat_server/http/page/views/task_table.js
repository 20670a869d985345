// Tasks as the rows of a table; the whole row leads to the task.

import { html } from "../vendor/lit-html/lit-html.js";
import { repeat } from "../vendor/lit-html/directives/repeat.js";
import { priorityBadge, stateBadge } from "../parts/badges.js";
import { ago, clock, duration, number, percent, plural, timeMs } from "../text/units.js";
import { isCollaboration, isFinal, kindOf, priorityOf, taskState } from "../text/words.js";

/**
 * @param {object[]} tasks
 * @param {{ app: import("../app/app.js").App, isOldestFirst: boolean, orderHref: string, isStale: boolean }} view
 */
export function taskTable(tasks, { app, isOldestFirst, orderHref, isStale }) {
  const nowMs = app.pulse.nowMs;
  return html`<div class="table-frame ${isStale ? "stale" : ""}">
    <table class="table rows">
      <thead><tr>
        <th>State</th><th>Task</th><th>Priority</th>
        <th aria-sort=${isOldestFirst ? "ascending" : "descending"}>
          <a href=${orderHref} title="Turn the order around">Created ${isOldestFirst ? "↑" : "↓"}</a></th>
        <th class="figure">Waited</th><th class="figure">Ran</th><th class="figure">Attempts</th><th>Agent</th><th>Note</th>
      </tr></thead>
      <tbody>${repeat(
        tasks,
        (task) => task.taskId,
        (task) => row(task, app, nowMs),
      )}</tbody>
    </table>
  </div>`;
}

function row(task, app, nowMs) {
  const href = app.route.href(["tasks", task.taskId]);
  const createMs = timeMs(task.createTime);
  const last = task.attempts?.at(-1);
  return html`<tr @click=${(event) => !event.target.closest("a") && app.go(href)}>
    <td>${stateBadge(taskState(task))}</td>
    <td class="cell-task"><a href=${href} data-row>
      <span class="kind">${kindOf(task)}</span>${task.spec?.name ? html` <span class="muted">${task.spec.name}</span>` : ""}
      <code>${task.taskId}</code></a></td>
    <td>${priorityBadge(priorityOf(task))}</td>
    <td title=${clock(createMs, nowMs)}>${ago(createMs, nowMs)}</td>
    <td class="figure">${waited(task, createMs, nowMs)}</td>
    <td class="figure">${ran(task, nowMs)}</td>
    <td class="figure">${number(task.attemptCount) || ""}</td>
    <td class="cell-agent" title=${last?.agentId ?? ""}>${last?.agentId ?? ""}</td>
    <td class="cell-note" title=${note(task)}>${note(task)}</td>
  </tr>`;
}

function waited(task, createMs, nowMs) {
  const startMs = timeMs(task.startTime);
  if (startMs === null && isFinal(task)) return "–";
  return duration(((startMs ?? nowMs) - createMs) / 1_000);
}

function ran(task, nowMs) {
  const startMs = timeMs(task.startTime);
  if (startMs === null) return "";
  const endMs = isFinal(task) ? timeMs(task.endTime) : nowMs;
  const took = duration((endMs - startMs) / 1_000);
  const progress = number(task.progress);
  if (!progress || isFinal(task)) return took;
  return html`<meter min="0" max="1" .value=${progress} title=${percent(progress)}>${percent(progress)}</meter> ${took}`;
}

/** What is worth a glance: the error, else the progress, else the children. */
function note(task) {
  if (task.error?.message || task.error?.reason)
    return [task.error.reason, task.error.message].filter(Boolean).join(": ");
  if (task.progressMessage && !isFinal(task)) return task.progressMessage;
  if (!isCollaboration(task)) return "";
  const { live, completed, failed, cancelled } = task.children ?? {};
  const counts = [
    [live, "live"],
    [completed, "completed"],
    [failed, "failed"],
    [cancelled, "cancelled"],
  ].filter(([value]) => number(value));
  return counts.length
    ? `${counts.map(([value, word]) => `${value} ${word}`).join(", ")}`
    : plural(0, "child").replace("childs", "children");
}
