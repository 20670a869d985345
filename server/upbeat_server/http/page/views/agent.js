// One agent: what it is, what was learned of it, and what it worked on.

import { html } from "../vendor/lit-html/lit-html.js";
import { Poll } from "../remote/poll.js";
import { stateBadge } from "../parts/badges.js";
import { copyButton } from "../parts/copying.js";
import { facts, labels } from "../parts/facts.js";
import { icon } from "../parts/icons.js";
import { failureBox, loading } from "../parts/notices.js";
import { ago, clock, count, duration, number, percent, seconds, timeMs } from "../text/units.js";
import { agentState } from "../text/words.js";
import { loadBar } from "./agent_list.js";
import { TaskStream } from "./task_stream.js";

const EVERY_MS = 2_000;

export class AgentPage {
  title = "Agent";

  /** @param {import("../app/app.js").App} app @param {AbortSignal} life */
  constructor(app, life) {
    this.#app = app;
    life.addEventListener("abort", () => {
      this.#poll.close();
      this.#stream.close();
    });
  }

  #app;
  #poll = null;
  #stream = null;
  #agent = null;

  enter() {
    this.title = this.#agentId;
    this.#stream ??= new TaskStream(this.#app, this.#agentId);
    this.#poll ??= new Poll({
      call: async (signal) => {
        this.#agent = (
          await this.#app.client.get(`agents/${encodeURIComponent(this.#agentId)}`, {}, signal)
        ).agent;
      },
      changed: () => this.#app.schedule(),
      everyMs: EVERY_MS,
    });
  }

  get #agentId() {
    return this.route.parts[1];
  }

  recolour() {
    this.#stream.recolour();
  }

  drawn() {
    this.#stream.drawn();
  }

  render() {
    const agent = this.#agent;
    const { failure } = this.#poll;
    return html`
      <div class="page-head">
        <a class="icon-button" data-up href=${this.#app.listHref("agents")} title="To the agents (Esc)" aria-label="To the agents">${icon("up")}</a>
        <h1 class="name">${this.#agentId}</h1>${copyButton(this.#agentId, "Copy the agent id")}
        ${agent ? stateBadge(agentState(agent)) : ""}
        <span class="spring"></span>
        ${
          agent && ["CONNECTED", "SUSPECT"].includes(agentState(agent))
            ? html`<button class="button button-danger-quiet" @click=${() => this.#drain()}>Drain…</button>`
            : ""
        }
      </div>
      ${failure ? failureBox(failure) : ""} ${agent ? this.#detail(agent) : failure ? "" : loading(6)}`;
  }

  #detail(agent) {
    return html`<div class="detail">
      <div class="detail-main">
        <section class="panel"><h2>Task stream</h2><div class="panel-content">${this.#stream.render([this.#agentId])}</div></section>
        <section class="panel"><h2>Learned performance</h2>${performanceTable(agent)}</section>
      </div>
      <aside class="detail-side" aria-label="Facts">
        ${facts("Work", [
          ["Slots in use", loadBar(agent)],
          ["Completed", count(agent.completedCount)],
          ["Failed", count(agent.failedCount)],
        ])}
        ${facts("Agent", [
          ["Name", agent.name],
          ["SDK", agent.sdkVersion],
          ["Connected", agent.connectTime && clock(timeMs(agent.connectTime), this.#app.pulse.nowMs)],
          ["Last heard", ago(timeMs(agent.lastSeenTime), this.#app.pulse.nowMs)],
        ])}
        <section class="panel"><h2>Offers</h2>
          <ul class="labels">${(agent.capabilities ?? []).map((capability) => html`<li>${capability}</li>`)}</ul></section>
        ${labels(agent.labels)}
      </aside>
    </div>`;
  }

  async #drain() {
    const isSure = await this.#app.dialogs.confirm({
      title: `Drain ${this.#agentId}?`,
      text: "It finishes what it has and is given nothing new until it connects again.",
      action: "Drain it",
      isDanger: true,
    });
    if (!isSure) return;
    await this.#app.attempt(
      () => this.#app.client.post(`agents/${encodeURIComponent(this.#agentId)}:drain`),
      "It is given nothing new.",
    );
    this.#poll.hurry();
  }
}

function performanceTable(agent) {
  const lines = [...(agent.performance ?? [])].sort((a, b) => number(b.count) - number(a.count));
  if (!lines.length)
    return html`<p class="muted panel-text">Nothing yet: it is learned from attempts that end.</p>`;
  return html`<div class="table-frame"><table class="table">
    <thead><tr><th>Type</th><th class="figure">Attempts</th><th>Success</th><th class="figure">Estimate of one run</th></tr></thead>
    <tbody>
      ${lines.map(
        (line) => html`<tr>
          <td><span class="kind">${line.type}</span></td>
          <td class="figure">${count(line.count)}</td>
          <td><span class="load"><svg viewBox="0 0 100 6" preserveAspectRatio="none" aria-hidden="true">
            <rect width="100" height="6" class="unset" /><rect width=${number(line.successRate) * 100} height="6" class="set" /></svg>
            <span>${percent(line.successRate)}</span></span></td>
          <td class="figure">${duration(seconds(line.durationEstimate))}</td>
        </tr>`,
      )}
    </tbody>
  </table></div>`;
}
