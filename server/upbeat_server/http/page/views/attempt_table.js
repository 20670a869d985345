// The attempts of a task, newest first, each with its error.

import { html } from "../vendor/lit-html/lit-html.js";
import { stateBadge } from "../parts/badges.js";
import { clock, duration, number, timeMs } from "../text/units.js";
import { shortName } from "../text/words.js";

/** @param {object} task @param {number} nowMs @param {(agentId: string) => string} agentHref */
export function attemptTable(task, nowMs, agentHref) {
  const attempts = [...task.attempts].reverse();
  const more = number(task.attemptCount) - attempts.length;
  return html`<div class="table-frame"><table class="table">
      <thead><tr><th class="figure">#</th><th>Outcome</th><th>Agent</th><th>Start</th><th class="figure">Ran</th><th>Error</th></tr></thead>
      <tbody>
        ${attempts.map((attempt) => {
          const startMs = timeMs(attempt.startTime);
          const endMs = timeMs(attempt.endTime);
          return html`<tr>
            <td class="figure">${attempt.attempt}</td>
            <td>${stateBadge(outcomeOf(attempt))}</td>
            <td class="cell-agent"><a href=${agentHref(attempt.agentId)}>${attempt.agentId}</a></td>
            <td title="lease ${attempt.leaseId}">${clock(startMs, nowMs)}</td>
            <td class="figure">${duration(((endMs ?? nowMs) - startMs) / 1_000)}</td>
            <td class="cell-error">${attempt.error ? html`<code>${attempt.error.reason}</code> ${attempt.error.message}` : ""}</td>
          </tr>`;
        })}
      </tbody>
    </table></div>
    ${more > 0 ? html`<p class="muted panel-text">${more} earlier ones are not kept.</p>` : ""}`;
}

function outcomeOf(attempt) {
  const outcome = shortName(attempt.outcome, "OUTCOME_");
  return outcome === "UNSPECIFIED" ? "RUNNING" : outcome;
}
