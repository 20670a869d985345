// Why a task waits, who could do it, and why its agent was chosen.

import { html } from "../vendor/lit-html/lit-html.js";
import { clock, number, plural, timeMs } from "../text/units.js";
import { sentenceCase, shortName } from "../text/words.js";
import { icon } from "./icons.js";

/** @param {object} told an ExplainTaskResponse @param {(agentId: string) => string} agentHref */
export function explanation(told, agentHref) {
  const reasons = told.reasons ?? [];
  const closest = told.closestAgents ?? [];
  if (!reasons.length && !closest.length && !told.choice) {
    return html`<p class="muted">There is nothing to explain: it does not wait.</p>`;
  }
  return html`
    ${
      reasons.length
        ? html`<ol class="reasons">
          ${reasons.map(
            (reason) => html`<li>
              <b>${sentenceCase(shortName(reason.kind, "KIND_"))}</b>
              <span>${reason.message}${reason.untilTime ? html` <span class="muted">until ${clock(timeMs(reason.untilTime))}</span>` : ""}</span>
            </li>`,
          )}
        </ol>`
        : ""
    }
    ${told.choice ? html`<p class="choice">${icon("agents")}<span>${told.choice}</span></p>` : ""}
    ${closest.length ? fits(closest, agentHref) : ""}`;
}

function fits(closest, agentHref) {
  return html`<h3>Closest agents</h3>
    <ul class="fits">
      ${closest.map((fit) => {
        const lacks = fit.lacks ?? [];
        return html`<li>
          <a href=${agentHref(fit.agentId)}>${fit.agentId}</a>
          <span class=${lacks.length ? "lacks" : "fit"}>${lacks.length ? `lacks ${lacks.join("; ")}` : "could take it"}</span>
          <span class="figure muted">${plural(number(fit.freeSlots), "free slot")}</span>
        </li>`;
      })}
    </ul>`;
}
