// What stands around every page: where one can go, what is going on there, and whether it is live.

import { html } from "../vendor/lit-html/lit-html.js";
import { icon } from "../parts/icons.js";
import { count, compact, number } from "../text/units.js";

const PLACES = [
  { page: "overview", name: "Overview", icon: "pulse" },
  { page: "tasks", name: "Tasks", icon: "tasks" },
  { page: "agents", name: "Agents", icon: "agents" },
  { page: "bus", name: "Bus", icon: "bus" },
];

const CONNECTION = {
  opening: ["Connecting", "The first figures are on their way"],
  live: ["Live", "Figures arrive as they change"],
  resting: ["Paused", "The tab is hidden"],
  retrying: ["Reconnecting", "The server does not answer; trying again"],
  failed: ["Not connected", "The server refuses"],
};

const THEMES = { system: "As the system", light: "Light", dark: "Dark" };

/** @param {import("./app.js").App} app @param {{ title: string, render: () => unknown }} page */
export function renderShell(app, page) {
  return html`
    <a class="skip" href="#main" @click=${skip}>Skip to the content</a>
    <header class="side">
      <a class="brand" href=${app.route.href(["overview"])}>
        <img src="icon.svg" alt="" width="24" height="24" /><span>upbeat</span>
      </a>
      <nav aria-label="Pages">${PLACES.map((place) => renderPlace(app, place))}</nav>
      <div class="side-foot">
        ${renderNamespace(app)}
        <div class="side-tools">
          ${renderConnection(app)}
          <button class="icon-button" title="Theme: ${THEMES[app.theme.choice]} (d)" data-theme-toggle
            aria-label="Theme: ${THEMES[app.theme.choice]}" @click=${() => app.theme.toggle()}>
            ${icon(`theme-${app.theme.choice}`)}
          </button>
          ${
            app.credentials.token
              ? html`<button class="icon-button" title="Sign out" aria-label="Sign out"
                @click=${() => app.signOut()}>${icon("leave")}</button>`
              : ""
          }
        </div>
      </div>
    </header>
    <main id="main" tabindex="-1">${page.render()}</main>`;
}

function renderPlace(app, { page, name, icon: shape }) {
  const figure = figureOf(app.pulse.stats, page);
  return html`<a href=${app.route.href([page])} aria-current=${app.route.page === page ? "page" : "false"}>
    ${icon(shape)}<span>${name}</span>
    ${figure === null ? "" : html`<span class="nav-figure" title=${figure.title}>${compact(figure.value)}</span>`}
  </a>`;
}

function figureOf(stats, page) {
  if (!stats) return null;
  const states = stats.tasksByState ?? {};
  if (page === "tasks") {
    const value = number(states.PENDING) + number(states.QUEUED) + number(states.RUNNING);
    return { value, title: `${count(value)} unfinished tasks` };
  }
  if (page === "agents") {
    const value = number(stats.agentsByState?.CONNECTED);
    return { value, title: `${count(value)} connected agents` };
  }
  const dead = number(stats.bus?.deadLetters);
  return page === "bus" && dead ? { value: dead, title: `${count(dead)} dead letters` } : null;
}

function renderNamespace(app) {
  const change = (event) => {
    const ns = event.target.value.trim();
    event.target.blur();
    app.go(app.route.href([app.route.page], { ns: ns === "default" ? "" : ns }));
  };
  return html`<label class="namespace">
    <span>Namespace</span>
    <input class="input" spellcheck="false" autocomplete="off" placeholder="default"
      .value=${app.route.namespace} @change=${change} />
  </label>`;
}

function renderConnection(app) {
  const [word, why] = CONNECTION[app.pulse.state] ?? CONNECTION.opening;
  return html`<span class="connection connection-${app.pulse.state}" role="status"
    title=${app.pulse.failure?.message ?? why}><i></i>${word}</span>`;
}

function skip(event) {
  event.preventDefault();
  document.querySelector("main").focus();
}
