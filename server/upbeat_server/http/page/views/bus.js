// The message bus: how it is doing, and the messages that nobody acknowledged.

import { Poll } from "../remote/poll.js";
import { html } from "../vendor/lit-html/lit-html.js";
import { live } from "../vendor/lit-html/directives/live.js";
import { empty, failureBox, loading } from "../parts/notices.js";
import { payloadBox, payloadLine } from "../parts/payload.js";
import { ago, clock, compact, count, number, plural, timeMs } from "../text/units.js";
import { sentenceCase } from "../text/words.js";

const PAGE_SIZE = 50;
const EVERY_MS = 4_000;
const FIGURES = [
  ["Topics", "topics", "with somebody subscribed"],
  ["Subscriptions", "subscribers", "those who are away too"],
  ["Kept", "messages", "not acknowledged by everyone"],
  ["Published", "published", "since the start"],
  ["Delivered", "delivered", "repeats included"],
  ["Acknowledged", "acked", "since the start"],
  ["Repeated", "redelivered", "deliveries"],
  ["Dead letters", "deadLetters", "waiting for you"],
];

export class BusPage {
  title = "Bus";

  /** @param {import("../app/app.js").App} app @param {AbortSignal} life */
  constructor(app, life) {
    this.#app = app;
    life.addEventListener("abort", () => this.#poll?.close());
  }

  #app;
  #poll = null;
  #letters = null;
  #nextToken = "";
  #chosen = new Set();

  enter() {
    this.#poll?.close();
    this.#chosen.clear();
    this.#poll = new Poll({
      call: (signal) => this.#ask(signal),
      changed: () => this.#app.schedule(),
      everyMs: EVERY_MS,
    });
  }

  render() {
    const bus = this.#app.pulse.stats?.bus;
    return html`
      <div class="page-head"><h1>Bus</h1></div>
      <section class="tiles tiles-small" aria-label="The bus">
        ${FIGURES.map(
          ([name, key, note]) => html`<div class="tile">
          <h2>${name}</h2><p class="tile-value">${bus ? compact(bus[key]) : "–"}</p><p class="muted">${note}</p></div>`,
        )}
      </section>
      <section class="panel">
        <h2>Dead letters<span class="spring"></span></h2>
        ${this.#toolbar()} ${this.#poll.failure ? failureBox(this.#poll.failure) : ""} ${this.#listing()} ${this.#pager()}
      </section>`;
  }

  async #ask(signal) {
    const { topic, subscriber, page } = this.route.query;
    const query = { topic, subscriber, page_token: page, page_size: PAGE_SIZE };
    const answer = await this.#app.client.get("dead-letters", query, signal);
    this.#letters = answer.deadLetters ?? [];
    this.#nextToken = answer.nextPageToken ?? "";
    const ids = new Set(this.#letters.map((letter) => letter.deadLetterId));
    for (const id of this.#chosen) if (!ids.has(id)) this.#chosen.delete(id);
  }

  #toolbar() {
    const set = (name) => (event) =>
      this.#app.go(this.route.with({ [name]: event.target.value.trim(), page: "" }));
    const { topic = "", subscriber = "" } = this.route.query;
    const chosen = this.#chosen.size;
    const what = chosen ? plural(chosen, "letter") : topic ? "all of the topic" : "";
    return html`<div class="toolbar">
      <input class="input" data-filter aria-label="Topic" placeholder="Topic" spellcheck="false" .value=${topic} @change=${set("topic")} />
      <input class="input" aria-label="Subscriber" placeholder="Subscriber" spellcheck="false" .value=${subscriber} @change=${set("subscriber")} />
      <span class="spring"></span>
      <button class="button" ?disabled=${!what} @click=${() => this.#redeliver(what)}>Redeliver ${what}…</button>
      <button class="button button-danger-quiet" ?disabled=${!what} @click=${() => this.#drop(what)}>Drop ${what}…</button>
    </div>`;
  }

  #listing() {
    if (this.#letters === null) return this.#poll.failure ? "" : loading(4);
    if (!this.#letters.length) {
      return empty({
        title: "No dead letters",
        text: "A message that a subscriber has not acknowledged after its last delivery comes here; it can be delivered again or dropped.",
      });
    }
    const nowMs = this.#app.pulse.nowMs;
    return html`<div class="table-frame"><table class="table">
      <thead><tr><th><span class="unseen">Choose</span></th><th>Topic</th><th>Subscriber</th><th>Publisher</th>
        <th class="figure">Deliveries</th><th>Reason</th><th>Given up</th><th>Message</th></tr></thead>
      <tbody>${this.#letters.map((letter) => this.#row(letter, nowMs))}</tbody>
    </table></div>`;
  }

  #row(letter, nowMs) {
    const id = letter.deadLetterId;
    const choose = (event) => {
      if (event.target.checked) this.#chosen.add(id);
      else this.#chosen.delete(id);
      this.#app.schedule();
    };
    const deadMs = timeMs(letter.deadTime);
    return html`<tr>
      <td><input type="checkbox" aria-label="Choose ${id}" .checked=${live(this.#chosen.has(id))} @change=${choose} /></td>
      <td>${letter.topic}</td>
      <td class="cell-agent" title=${letter.subscriber}>${letter.subscriber}</td>
      <td class="cell-agent" title=${letter.publisher ?? ""}>${letter.publisher ?? ""}</td>
      <td class="figure">${count(letter.deliveryAttempts)}</td>
      <td>${sentenceCase(letter.reason ?? "")}</td>
      <td title=${clock(deadMs, nowMs)}>${ago(deadMs, nowMs)}</td>
      <td class="cell-note"><button class="link" data-row @click=${() => this.#show(letter)}>${letter.payload ? payloadLine(letter.payload).slice(0, 200) : "empty"}</button></td>
    </tr>`;
  }

  #show(letter) {
    const headers = Object.entries(letter.headers ?? {});
    this.#app.dialogs.show({
      title: `Message ${letter.messageId}`,
      body: () => html`
        <p class="muted">Published ${clock(timeMs(letter.publishTime))} to ${letter.topic}, number ${count(letter.sequence)}</p>
        ${headers.length ? html`<dl class="facts">${headers.map(([name, value]) => html`<div><dt>${name}</dt><dd>${value}</dd></div>`)}</dl>` : ""}
        ${letter.payload ? payloadBox(letter.payload, letter.messageId) : ""}`,
      actions: (close) => html`<button class="button" autofocus @click=${() => close()}>Close</button>`,
    });
  }

  #pager() {
    const { page } = this.route.query;
    if (!page && !this.#nextToken) return "";
    return html`<nav class="pager" aria-label="Pages of dead letters">
      ${page ? html`<a class="button" data-page="previous" href=${this.route.with({ page: "" })}>← First</a>` : ""}
      <span class="muted">${number(this.#letters?.length)} on this page, oldest first</span>
      ${this.#nextToken ? html`<a class="button" data-page="next" href=${this.route.with({ page: this.#nextToken })}>Next →</a>` : ""}
    </nav>`;
  }

  async #redeliver(what) {
    const text = `${sentenceCase(what)}: they go behind what waits for their subscribers.`;
    if (!(await this.#app.dialogs.confirm({ title: "Deliver again?", text, action: "Redeliver" }))) return;
    await this.#act(
      "redeliver",
      ({ redeliveredCount, keptCount }) =>
        `${plural(redeliveredCount ?? 0, "letter")} on the way again${number(keptCount) ? `, ${count(keptCount)} kept: nobody is subscribed, or the topic is full` : ""}.`,
    );
  }

  async #drop(what) {
    const text = `${sentenceCase(what)}: they are forgotten for good.`;
    if (!(await this.#app.dialogs.confirm({ title: "Drop for good?", text, action: "Drop", isDanger: true })))
      return;
    await this.#act("drop", ({ droppedCount }) => `${plural(droppedCount ?? 0, "letter")} dropped.`);
  }

  async #act(verb, told) {
    const { topic = "", subscriber = "" } = this.route.query;
    const body = this.#chosen.size ? { deadLetterIds: [...this.#chosen] } : { topic, subscriber };
    await this.#app.attempt(() => this.#app.client.post(`dead-letters:${verb}`, body), told);
    this.#chosen.clear();
    this.#poll.hurry();
  }
}
