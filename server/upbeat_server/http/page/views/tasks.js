// The tasks of the namespace: filtered by the server, page by page, looked at again while somebody looks.

import { Poll } from "../remote/poll.js";
import { html } from "../vendor/lit-html/lit-html.js";
import { icon } from "../parts/icons.js";
import { empty, failureBox, loading } from "../parts/notices.js";
import { chip } from "../parts/segmented.js";
import { compact } from "../text/units.js";
import { valueOf, withValue } from "../text/filter.js";
import { PRIORITIES, TASK_STATES, sentenceCase } from "../text/words.js";
import { askBulk } from "./bulk_dialog.js";
import { taskTable } from "./task_table.js";

const PAGE_SIZE = 50;
const EVERY_MS = 3_000;
const TYPES_MAX = 10;

export class TasksPage {
  title = "Tasks";

  /** @param {import("../app/app.js").App} app @param {AbortSignal} life */
  constructor(app, life) {
    this.#app = app;
    life.addEventListener("abort", () => this.#poll?.close());
  }

  #app;
  #poll = null;
  #tasks = null;
  #nextToken = "";
  #before = new Map(); // The token of the page before, by token.
  #types = new Set(); // Seen so far: what can be chosen with a click.

  enter() {
    this.#poll?.close();
    this.#nextToken = "";
    this.#poll = new Poll({
      call: (signal) => this.#ask(signal),
      changed: () => this.#app.schedule(),
      everyMs: EVERY_MS,
    });
  }

  get #filter() {
    return this.route.query.filter ?? "";
  }

  get #isOldestFirst() {
    return this.route.query.order === "oldest";
  }

  render() {
    return html`
      <div class="page-head">
        <h1>Tasks</h1>
        <span class="spring"></span>
        <button class="button" @click=${() => this.#bulk("retry")}>Retry matching…</button>
        <button class="button" @click=${() => this.#bulk("cancel")}>Cancel matching…</button>
      </div>
      ${this.#search()} ${this.#chips()} ${this.#poll.failure ? failureBox(this.#poll.failure) : ""} ${this.#listing()}
      ${this.#pager()}`;
  }

  async #ask(signal) {
    const query = {
      filter: this.#filter,
      order_by: this.#isOldestFirst ? "create_time" : "create_time desc",
      page_size: PAGE_SIZE,
      page_token: this.route.query.page ?? "",
    };
    const page = await this.#app.client.get("tasks", query, signal);
    this.#tasks = page.tasks ?? [];
    this.#nextToken = page.nextPageToken ?? "";
    if (this.#nextToken) this.#before.set(this.#nextToken, query.page_token);
    for (const { spec } of this.#tasks)
      if (spec?.type && this.#types.size < TYPES_MAX) this.#types.add(spec.type);
  }

  #search() {
    const apply = (event) => {
      event.preventDefault();
      const filter = new FormData(event.target).get("filter").trim();
      this.#app.go(this.#with(filter));
      this.#poll.hurry();
    };
    const isAtFault = this.#poll.failure?.code === 400;
    return html`<form class="search" role="search" @submit=${apply}>
      ${icon("search")}
      <input class="input" name="filter" data-filter aria-label="Filter" spellcheck="false" autocomplete="off"
        aria-invalid=${isAtFault} .value=${this.#filter} @change=${(event) => event.target.form.requestSubmit()}
        placeholder='state = FAILED AND labels.team = "a" AND create_time >= "2026-01-01T00:00:00Z"' />
      ${this.#filter ? html`<a class="button button-quiet" href=${this.#with("")}>Clear</a>` : html`<kbd>/</kbd>`}
    </form>`;
  }

  #chips() {
    const states = this.#app.pulse.stats?.tasksByState ?? {};
    return html`<div class="chips" aria-label="Quick filters">
      ${this.#group(
        "State",
        "state",
        TASK_STATES,
        (state) => html`<span class="state-${state}">${icon(state)}</span>
        ${sentenceCase(state)}${states[state] ? html`<b>${compact(states[state])}</b>` : ""}`,
      )}
      ${this.#group("Priority", "priority", PRIORITIES, sentenceCase)}
      ${this.#types.size ? this.#group("Type", "type", [...this.#types].sort(), (type) => type) : ""}
      <span class="chip-group" role="group" aria-label="Place">
        ${chip("Without parents", valueOf(this.#filter, "parent") === "", this.#toggle("parent", ""))}
      </span>
    </div>`;
  }

  #group(label, field, values, content) {
    const chosen = valueOf(this.#filter, field);
    const is = (value) => chosen?.toUpperCase().replace(/^(STATE|PRIORITY)_/, "") === value.toUpperCase();
    return html`<span class="chip-group" role="group" aria-label=${label}>
      ${values.map((value) => chip(content(value), is(value), this.#toggle(field, value, is(value))))}
    </span>`;
  }

  #toggle(field, value, isOn = valueOf(this.#filter, field) === value) {
    return this.#with(withValue(this.#filter, field, isOn ? null : value));
  }

  /** Another filter begins at its first page. */
  #with(filter) {
    return this.route.with({ filter, page: "" });
  }

  #listing() {
    if (this.#tasks === null) return this.#poll.failure ? "" : loading(8);
    if (!this.#tasks.length) return this.#poll.failure ? "" : this.#nothing();
    return taskTable(this.#tasks, {
      app: this.#app,
      isOldestFirst: this.#isOldestFirst,
      orderHref: this.route.with({ order: this.#isOldestFirst ? "" : "oldest", page: "" }),
      isStale: this.#poll.isLoading || this.#poll.failure !== null,
    });
  }

  #nothing() {
    if (this.route.query.page)
      return empty({ title: "No more tasks", text: "This page is behind the last one." });
    if (this.#filter) {
      return empty({
        title: "No task matches",
        text: html`Loosen the filter, or <a href=${this.#with("")}>clear it</a>.`,
      });
    }
    return empty({
      title: "No tasks yet",
      text: "Submit one from the command line; it waits until an agent offers its type:",
      command: `upbeat tasks submit count-words '{"text": "from the command line"}'`,
    });
  }

  #pager() {
    const token = this.route.query.page ?? "";
    if (!token && !this.#nextToken) return "";
    const before = this.#before.get(token) ?? "";
    return html`<nav class="pager" aria-label="Pages of tasks">
      ${token ? html`<a class="button" data-page="previous" href=${this.route.with({ page: before })}>← ${before || this.#before.has(token) ? "Previous" : "First"}</a>` : ""}
      <span class="muted">${this.#tasks?.length ?? 0} on this page, ${this.#isOldestFirst ? "oldest" : "newest"} first</span>
      ${this.#nextToken ? html`<a class="button" data-page="next" href=${this.route.with({ page: this.#nextToken })}>Next →</a>` : ""}
    </nav>`;
  }

  async #bulk(kind) {
    await askBulk(this.#app, kind, this.#filter);
    this.#poll.hurry();
  }
}
