// The small tables of the overview: the queue, states, collaborations, and the engine itself.

import { html } from "../vendor/lit-html/lit-html.js";
import { priorityBadge, stateBadge } from "../parts/badges.js";
import { count, duration, number, rate, seconds } from "../text/units.js";
import { PRIORITIES, TASK_STATES, sentenceCase } from "../text/words.js";

/** @param {object} stats @param {import("../app/route.js").Route} route */
export function queue(stats, route) {
  return panel(
    "Queue",
    html`<div class="table-frame"><table class="table">
    <thead><tr><th>Priority</th><th class="figure">Waiting</th><th class="figure">Oldest</th></tr></thead>
    <tbody>
      ${PRIORITIES.map((priority) => {
        const line = stats.queueByPriority?.[priority];
        const depth = number(line?.depth);
        return html`<tr>
          <td><a class="plain" href=${route.href(["tasks"], { filter: `state = QUEUED AND priority = ${priority}` })}>${priorityBadge(priority)}</a></td>
          <td class="figure">${count(depth)}</td>
          <td class="figure">${depth ? duration(seconds(line.oldestAge)) : "–"}</td>
        </tr>`;
      })}
    </tbody>
  </table></div>`,
  );
}

export function states(stats, route) {
  return panel(
    "Tasks",
    html`<div class="table-frame"><table class="table">
    <thead><tr><th>State</th><th class="figure">Tasks</th></tr></thead>
    <tbody>
      ${TASK_STATES.map(
        (state) => html`<tr>
          <td><a class="plain" href=${route.href(["tasks"], { filter: `state = ${state}` })}>${stateBadge(state)}</a></td>
          <td class="figure">${count(stats.tasksByState?.[state])}</td>
        </tr>`,
      )}
    </tbody>
  </table></div>`,
  );
}

export function collaborations(stats) {
  const modes = Object.entries(stats.collaborationsByMode ?? {}).sort(([a], [b]) => (a < b ? -1 : 1));
  if (!modes.length) {
    return panel(
      "Collaborations",
      html`<p class="muted panel-text">None yet. Agents that vote, race or work in a pipeline
      on one task are counted here by mode.</p>`,
    );
  }
  const wasted = seconds(stats.wasted);
  return panel(
    "Collaborations",
    html`<div class="table-frame"><table class="table">
      <thead><tr><th>Mode</th><th class="figure">Running</th><th class="figure">Completed</th>
        <th class="figure">Failed</th><th class="figure">Cancelled</th></tr></thead>
      <tbody>
        ${modes.map(
          ([mode, figures]) => html`<tr>
            <td>${sentenceCase(mode)}</td>
            ${["running", "completed", "failed", "cancelled"].map((name) => html`<td class="figure">${count(figures[name])}</td>`)}
          </tr>`,
        )}
      </tbody>
    </table></div>
    <p class="muted panel-text">${count(stats.hedges)} hedges; ${duration(wasted ?? 0)} of work not used</p>`,
  );
}

export function engine(stats) {
  const times = [
    ["Wait", stats.wait, "From submission to the first lease"],
    ["Run", stats.run, "The accepted attempt"],
    ["Total", stats.total, "From submission to the end"],
    ["Dispatch", stats.dispatch, "From the turn that could hand a task out to its hand-over"],
    ["Commit", stats.commit, "Commits of the store"],
  ];
  return panel(
    "Times",
    html`<div class="table-frame"><table class="table">
      <thead><tr><th>Of recent tasks</th><th class="figure">p50</th><th class="figure">p90</th>
        <th class="figure">p99</th><th class="figure">Max</th></tr></thead>
      <tbody>
        ${times.map(
          ([name, figures, title]) => html`<tr>
            <td title=${title}>${name}</td>
            ${["p50", "p90", "p99", "max"].map(
              (which) =>
                html`<td class="figure">${number(figures?.count) ? duration(seconds(figures[which])) : "–"}</td>`,
            )}
          </tr>`,
        )}
      </tbody>
    </table></div>
    <p class="muted panel-text">${count(stats.retries)} retries, ${count(stats.leasesLost)} leases lost since the start;
      ${rate(stats.submitted?.perSecond5m)} tasks/s submitted over 5 min</p>`,
  );
}

export function panel(title, content) {
  return html`<section class="panel"><h2>${title}</h2>${content}</section>`;
}
