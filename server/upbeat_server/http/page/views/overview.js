// How it is going: what waits, what runs, how fast, and how it was in the last hour.

import { Poll } from "../remote/poll.js";
import { html } from "../vendor/lit-html/lit-html.js";
import { History } from "../models/history.js";
import { Chart } from "../parts/chart.js";
import { icon } from "../parts/icons.js";
import { empty, loading, troubleOf } from "../parts/notices.js";
import { segmented } from "../parts/segmented.js";
import { compact, count, duration, number, rate, seconds } from "../text/units.js";
import { PRIORITIES } from "../text/words.js";
import { limits, types } from "./demand_tables.js";
import { collaborations, engine, queue, states } from "./overview_tables.js";

const WINDOWS = { "5m": ["5 min", 300], "15m": ["15 min", 900], "1h": ["1 h", 3_600] };
const DEFAULT_WINDOW = "15m";
const REFRESH_MS = 5_000;
const LOWEST_FIRST = [...PRIORITIES].reverse();

export class OverviewPage {
  title = "Overview";

  /** @param {import("../app/app.js").App} app @param {AbortSignal} life */
  constructor(app, life) {
    this.#app = app;
    this.#charts = charts(() => app.schedule());
    app.pulse.listen((stats) => {
      this.#history.follow(stats);
      this.#plot();
    }, life);
    life.addEventListener("abort", () => this.#poll?.close());
  }

  #app;
  #charts;
  #window = "";
  #history = new History(0);
  #poll = null;
  #isAsked = false; // Whether the whole window has been asked for.

  enter() {
    const window = this.route.query.window in WINDOWS ? this.route.query.window : DEFAULT_WINDOW;
    if (window === this.#window) return;
    this.#window = window;
    this.#history = new History(WINDOWS[window][1] * 1_000);
    this.#isAsked = false;
    this.#poll?.close();
    this.#poll = new Poll({
      call: (signal) => this.#ask(signal),
      changed: () => this.#app.schedule(),
      everyMs: REFRESH_MS,
    });
  }

  recolour() {
    for (const { chart } of this.#charts) chart.recolour();
  }

  render() {
    const { stats } = this.#app.pulse;
    return html`
      <div class="page-head">
        <h1>Overview</h1>
        <span class="muted">${stats ? `${stats.serverVersion ?? "upbeat"}, up ${duration(seconds(stats.uptime))}` : ""}</span>
        <span class="spring"></span>
        ${segmented("Window", WINDOWS, this.#window, (window) => this.#app.route.with({ window }))}
      </div>
      ${troubleOf(this.#app.pulse)}
      ${stats ? this.#figures(stats) : this.#app.pulse.failure ? "" : loading(6)}`;
  }

  #figures(stats) {
    return html`
      ${isUntouched(stats) ? firstSteps() : ""}
      <section class="tiles" aria-label="Now">${tiles(stats)}</section>
      <section class="charts" aria-label="Over time">
        ${this.#charts.map(({ chart }) => chart.render())}
      </section>
      <section class="panels">
        ${queue(stats, this.#app.route)} ${states(stats, this.#app.route)} ${types(stats, this.#app)}
        ${limits(stats)} ${engine(stats)} ${collaborations(stats)}
      </section>`;
  }

  async #ask(signal) {
    const [, windowS] = WINDOWS[this.#window];
    const isWhole = !this.#isAsked || performance.now() - this.#askedMs > REFRESH_MS * 4;
    const window = isWhole ? windowS : Math.min(windowS, 60);
    const answer = await this.#app.client.get("stats/history", { window: `${window}s` }, signal);
    this.#isAsked = true;
    this.#askedMs = performance.now();
    this.#history.merge(answer.points ?? []);
    this.#plot();
  }

  #askedMs = 0;

  #plot() {
    for (const { chart, columns } of this.#charts) chart.set(this.#history.columns(columns));
  }
}

function charts(changed) {
  const lines = (title, format, given, options = {}) => ({
    columns: given.map(([column]) => column),
    chart: new Chart({
      title,
      format,
      changed,
      ...options,
      lines: given.map(([, name, colour, more]) => ({ name, colour, ...more })),
    }),
  });
  const DASHED = { dash: [5, 3] };
  const DOTTED = { dash: [2, 3] };
  return [
    lines("Tasks per second", rate, [
      ["completed", "completed", "COMPLETED", { isFilled: true }],
      ["submitted", "submitted", "RUNNING", DASHED],
      ["failed", "failed", "FAILED", DOTTED],
    ]),
    lines(
      "Queue by priority",
      compact,
      LOWEST_FIRST.map((name) => [`depth${name}`, name.toLowerCase(), name]),
      { isStacked: true, isWhole: true },
    ),
    lines("Wait before the first attempt", duration, [
      ["waitP50", "p50", "RUNNING"],
      ["waitP99", "p99", "QUEUED", DASHED],
    ]),
    lines("Run of the accepted attempt", duration, [
      ["runP50", "p50", "RUNNING"],
      ["runP99", "p99", "QUEUED", DASHED],
    ]),
    lines(
      "Age of the oldest in the queue",
      duration,
      LOWEST_FIRST.map((name, at) => [
        `age${name}`,
        name.toLowerCase(),
        name,
        { dash: [[1, 3], [3, 3], [7, 3], undefined][at] },
      ]),
    ),
    lines(
      "Slots",
      compact,
      [
        ["slotsInUse", "in use", "RUNNING", { isFilled: true }],
        ["slots", "there are", "faint", DASHED],
      ],
      { isWhole: true },
    ),
  ];
}

function tiles(stats) {
  const byState = stats.tasksByState ?? {};
  const agents = stats.agentsByState ?? {};
  const slots = number(stats.slots);
  return [
    tile("Queued", compact(byState.QUEUED), `${count(byState.PENDING)} pending`, "QUEUED"),
    tile(
      "Running",
      compact(byState.RUNNING),
      `${count(stats.slotsInUse)} of ${count(slots)} slots in use`,
      "RUNNING",
    ),
    tile(
      "Completed",
      `${rate(stats.completed?.perSecond1m)} /s`,
      `${count(byState.COMPLETED)} since the start`,
      "COMPLETED",
    ),
    tile(
      "Failed",
      `${rate(stats.failed?.perSecond1m)} /s`,
      `${count(byState.FAILED)} since the start`,
      "FAILED",
    ),
    tile(
      "Wait p99",
      duration(sampled(stats.wait, "p99")),
      `p50 ${duration(sampled(stats.wait, "p50"))}`,
      "p99",
    ),
    tile("Agents", compact(agents.CONNECTED), away(agents), "agents"),
  ];
}

function tile(name, value, note, shape) {
  return html`<div class="tile">
    <h2 class="state-${shape}">${shape === "p99" ? icon("TIMED_OUT") : icon(shape)}${name}</h2>
    <p class="tile-value">${value}</p>
    <p class="muted">${note}</p>
  </div>`;
}

function sampled(percentiles, name) {
  return number(percentiles?.count) ? seconds(percentiles[name]) : null;
}

function away(agents) {
  const suspect = number(agents.SUSPECT);
  const draining = number(agents.DRAINING);
  if (!suspect && !draining) return number(agents.CONNECTED) ? "all are well" : "none is connected";
  return [suspect && `${count(suspect)} suspect`, draining && `${count(draining)} draining`]
    .filter(Boolean)
    .join(", ");
}

function isUntouched(stats) {
  const ever = Object.values(stats.tasksByState ?? {}).some((value) => number(value));
  return !ever && !number(stats.submitted?.count);
}

function firstSteps() {
  return empty({
    title: "No tasks yet",
    text: "Start an agent that offers a type of work, then submit a task of that type:",
    command: `upbeat tasks submit count-words '{"text": "from the command line"}' --wait`,
  });
}
