// All agents: as a list, or as what each of them ran when.

import { html } from "../vendor/lit-html/lit-html.js";
import { live } from "../vendor/lit-html/directives/live.js";
import { Roster } from "../models/roster.js";
import { icon } from "../parts/icons.js";
import { empty, loading, troubleOf } from "../parts/notices.js";
import { chip, segmented } from "../parts/segmented.js";
import { compact, count } from "../text/units.js";
import { AGENT_STATES, sentenceCase } from "../text/words.js";
import { AgentList } from "./agent_list.js";
import { TaskStream } from "./task_stream.js";

const VIEWS = { list: "List", stream: "Task stream" };

export class AgentsPage {
  title = "Agents";

  /** @param {import("../app/app.js").App} app @param {AbortSignal} life */
  constructor(app, life) {
    this.#app = app;
    this.#roster = new Roster(app.client, () => app.schedule());
    this.#list = new AgentList(app);
    life.addEventListener("abort", () => {
      this.#roster.close();
      this.#stream?.close();
    });
  }

  #app;
  #roster;
  #list;
  #stream = null;

  enter() {
    if (this.#isStream) this.#stream ??= new TaskStream(this.#app, "-");
    else this.#endStream();
  }

  get #isStream() {
    return this.route.query.view === "stream";
  }

  recolour() {
    this.#stream?.recolour();
  }

  drawn() {
    (this.#stream ?? this.#list).drawn();
  }

  press(key) {
    if (key === "j" || key === "k") return (this.#stream ?? this.#list).move(key === "j" ? 1 : -1);
    return false;
  }

  render() {
    const { query } = this.route;
    const agentIds = this.#roster.select({
      text: query.find ?? "",
      state: query.state ?? "",
      order: query.sort ?? (this.#isStream ? "agent" : "state"),
      isDescending: query.order === "desc",
    });
    return html`
      <div class="page-head">
        <h1>Agents</h1>
        <span class="muted" role="status">${this.#told(agentIds.length)}</span>
        <span class="spring"></span>
        ${segmented("View", VIEWS, this.#isStream ? "stream" : "list", (view) => this.route.with({ view: view === "list" ? "" : view }))}
      </div>
      ${this.#search()} ${troubleOf(this.#roster.feed)} ${this.#body(agentIds)}`;
  }

  #told(shown) {
    const { size, isComplete } = this.#roster;
    const all = `${count(size)}${isComplete ? "" : " so far"}`;
    return shown === size ? all : `${count(shown)} of ${all}`;
  }

  #search() {
    const find = (event) =>
      this.#app.go(this.route.with({ find: event.target.value.trim() }), { replace: true });
    const counts = this.#roster.counts();
    return html`<div class="search" role="search">
        ${icon("search")}
        <input class="input" data-filter aria-label="Find agents" spellcheck="false" autocomplete="off"
          placeholder="Name, capability or label=value" .value=${live(this.route.query.find ?? "")} @input=${find} />
        <kbd>/</kbd>
      </div>
      <div class="chips"><span class="chip-group" role="group" aria-label="State">
        ${AGENT_STATES.map((state) => {
          const isOn = this.route.query.state === state;
          const content = html`<span class="state-${state}">${icon(state)}</span>${sentenceCase(state)}<b>${compact(counts[state] ?? 0)}</b>`;
          return chip(content, isOn, this.route.with({ state: isOn ? "" : state }));
        })}
      </span></div>`;
  }

  #body(agentIds) {
    if (!this.#roster.size)
      return this.#roster.isComplete ? none() : this.#roster.feed.failure ? "" : loading(8);
    if (!agentIds.length) {
      return empty({
        title: "No agent matches",
        text: html`<a href=${this.route.with({ find: "", state: "" })}>Show all</a>.`,
      });
    }
    return this.#stream
      ? this.#stream.render(agentIds)
      : this.#list.render(agentIds, this.#roster, this.route);
  }

  #endStream() {
    this.#stream?.close();
    this.#stream = null;
  }
}

function none() {
  return empty({
    title: "No agents yet",
    text: 'An agent is a program that offers skills. With the SDK, agent.py is a few lines that end in agent.run("localhost:50051"):',
    command: "python agent.py",
  });
}
