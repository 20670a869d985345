// What a vote came to, and what else a collaboration tells about its decision.

import { html } from "../vendor/lit-html/lit-html.js";
import { count, duration, number, plural, seconds } from "../text/units.js";
import { payloadLine } from "./payload.js";

/**
 * Empty for a result that says no more than its mode.
 * @param {object} result a CollaborationResult
 * @param {(taskId: string) => string} taskHref
 */
export function tally(result, taskHref) {
  const entries = result.tally ?? [];
  const heaviest = Math.max(...entries.map((entry) => number(entry.weight)), 1e-9);
  const told = factsOf(result, taskHref);
  if (!entries.length && !told.length) return "";
  const winning = result.winningValue ? payloadLine(result.winningValue) : null;
  return html`
    ${
      entries.length
        ? html`<table class="tally">
          <caption class="unseen">Votes</caption>
          ${entries.map((entry) => {
            const value = payloadLine(entry.value);
            const wins = value === winning;
            return html`<tr class=${wins ? "wins" : ""}>
              <th scope="row" title=${value}>${value}${wins ? html` <span class="unseen">(won)</span>` : ""}</th>
              <td class="tally-bar"><i .style=${`width:${(number(entry.weight) / heaviest) * 100}%`}></i></td>
              <td class="figure">${plural(entry.ballots, "ballot")}${weightOf(entry)}</td>
            </tr>`;
          })}
        </table>`
        : ""
    }
    <p class="facts-line">${told.map((fact) => html`<span>${fact}</span>`)}</p>`;
}

function weightOf(entry) {
  return number(entry.weight) === number(entry.ballots)
    ? ""
    : `, weight ${number(entry.weight).toPrecision(3)}`;
}

function factsOf(result, taskHref) {
  const wasted = seconds(result.wasted);
  return [
    result.winnerTaskId && html`won by <a href=${taskHref(result.winnerTaskId)}>${result.winnerTaskId}</a>`,
    result.tally?.length && `margin ${number(result.margin).toPrecision(3)}`,
    result.decidedEarly && "decided early",
    number(result.rounds) > 1 && `${result.rounds} rounds`,
    number(result.missing) && `${count(result.missing)} missing`,
    number(result.abstained) && `${count(result.abstained)} abstained`,
    result.dissentTaskIds?.length && `${count(result.dissentTaskIds.length)} dissent`,
    number(result.completedItems) && plural(result.completedItems, "item"),
    number(result.failedItems) && `${count(result.failedItems)} failed`,
    wasted && `${duration(wasted)} of work not used`,
  ].filter(Boolean);
}
