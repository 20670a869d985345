// Agents as a long list: state, load and what they came to.

import { html } from "../vendor/lit-html/lit-html.js";
import { stateBadge } from "../parts/badges.js";
import { LongList } from "../parts/long_list.js";
import { ago, compact, count, number, timeMs } from "../text/units.js";
import { agentState } from "../text/words.js";

const ROW_PX = 38;

const COLUMNS = [
  { key: "agent", name: "Agent" },
  { key: "state", name: "State" },
  { key: "load", name: "Slots in use" },
  { key: "completed", name: "Completed", isFigure: true },
  { key: "failed", name: "Failed", isFigure: true },
  { name: "Offers" },
  { name: "Heard", isFigure: true },
];

export class AgentList {
  /** @param {import("../app/app.js").App} app */
  constructor(app) {
    this.#app = app;
    this.#list = new LongList({ rowPx: ROW_PX, label: "Agents", changed: () => app.schedule() });
  }

  #app;
  #list;

  move(step) {
    return this.#list.move(step);
  }

  drawn() {
    this.#list.drawn();
  }

  /**
   * @param {string[]} agentIds rows, in this order
   * @param {import("../models/roster.js").Roster} roster
   * @param {import("../app/route.js").Route} route
   */
  render(agentIds, roster, route) {
    return this.#list.render({
      items: agentIds,
      key: (agentId) => agentId,
      row: (agentId, index) => this.#row(roster.get(agentId), index),
      head: head(route),
    });
  }

  #row(agent, index) {
    const href = this.#app.route.href(["agents", agent.agentId]);
    const nowMs = this.#app.pulse.nowMs;
    const capabilities = (agent.capabilities ?? []).join(", ");
    return html`<div class="long-row agent-row" role="row" aria-rowindex=${index + 2}
      @click=${(event) => !event.target.closest("a") && this.#app.go(href)}>
      <span role="cell" class="cell-agent"><a href=${href} data-row title=${agent.agentId}>${agent.agentId}</a></span>
      <span role="cell">${stateBadge(agentState(agent))}</span>
      <span role="cell">${loadBar(agent)}</span>
      <span role="cell" class="figure" title=${count(agent.completedCount)}>${compact(agent.completedCount)}</span>
      <span role="cell" class="figure ${number(agent.failedCount) ? "bad" : ""}">${compact(agent.failedCount)}</span>
      <span role="cell" class="cell-note" title=${capabilities}>${capabilities}</span>
      <span role="cell" class="figure muted">${ago(timeMs(agent.lastSeenTime), nowMs)}</span>
    </div>`;
  }
}

/** Slots as a bar with a figure. */
export function loadBar(agent) {
  const slots = number(agent.slots);
  const inUse = number(agent.inUse);
  return html`<span class="load"><svg viewBox="0 0 100 6" preserveAspectRatio="none" aria-hidden="true">
      <rect width="100" height="6" class="unset" /><rect width=${slots ? Math.min(100, (inUse / slots) * 100) : 0} height="6" class="set" />
    </svg><span>${count(inUse)}/${count(slots)}</span></span>`;
}

function head(route) {
  const chosen = route.query.sort ?? "state";
  const isDescending = route.query.order === "desc";
  return html`<div class="long-row agent-row" role="row">
    ${COLUMNS.map(({ key, name, isFigure }) => {
      if (!key) return html`<span role="columnheader" class=${isFigure ? "figure" : ""}>${name}</span>`;
      const isOn = key === chosen;
      // Figures are asked for from the top first.
      const next = isOn ? !isDescending : Boolean(isFigure) || key === "load";
      return html`<span role="columnheader" class=${isFigure ? "figure" : ""}
        aria-sort=${isOn ? (isDescending ? "descending" : "ascending") : "none"}>
        <a href=${route.with({ sort: key, order: next ? "desc" : "" })}>${name} ${isOn ? (isDescending ? "↓" : "↑") : ""}</a></span>`;
    })}
  </div>`;
}
