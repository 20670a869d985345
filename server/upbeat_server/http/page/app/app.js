// The dashboard as a whole: where the reader is, what is shown there, and when it is drawn.
//
// Everything that changes calls `schedule`; all changes of one animation frame are drawn
// at once, and nothing is drawn while the tab is hidden.

import { Client } from "../remote/client.js";
import { Failure } from "../remote/failure.js";
import { html, render } from "../vendor/lit-html/lit-html.js";
import { AgentPage } from "../views/agent.js";
import { AgentsPage } from "../views/agents.js";
import { BusPage } from "../views/bus.js";
import { LoginPage } from "../views/login.js";
import { MissingPage } from "../views/missing.js";
import { OverviewPage } from "../views/overview.js";
import { TaskPage } from "../views/task.js";
import { TasksPage } from "../views/tasks.js";
import { Credentials } from "./credentials.js";
import { Dialogs } from "./dialogs.js";
import { showHelp } from "./help.js";
import { Pulse } from "./pulse.js";
import { Route } from "./route.js";
import { moveFocus } from "./rows.js";
import { renderShell } from "./shell.js";
import { Shortcuts } from "./shortcuts.js";
import { Theme } from "./theme.js";
import { Toasts } from "./toasts.js";

const PAGES = {
  overview: [OverviewPage],
  tasks: [TasksPage, TaskPage], // The list, and one by its id.
  agents: [AgentsPage, AgentPage],
  bus: [BusPage],
};

export class App {
  /** @param {HTMLElement} root */
  constructor(root) {
    this.#root = root;
    const changed = () => this.schedule();
    this.route = Route.read(location.hash);
    this.credentials = new Credentials();
    this.client = new Client(
      () => this.route.namespace,
      () => this.credentials.token,
    );
    this.pulse = new Pulse(this.client, changed);
    this.dialogs = new Dialogs(changed);
    this.toasts = new Toasts(changed);
    this.theme = new Theme(() => {
      this.#page?.recolour?.();
      this.schedule();
    });
  }

  #root;
  #page = null;
  #life = new AbortController();
  #isScheduled = false;
  #lists = new Map(); // Where each list was left, with its filter and page.

  start() {
    new Shortcuts((key) => this.#press(key));
    addEventListener("hashchange", () => this.#arrive());
    this.pulse.restart();
    this.#arrive();
  }

  /** Draw with the next frame. */
  schedule() {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    requestAnimationFrame(() => {
      this.#isScheduled = false;
      this.#draw();
    });
  }

  /** The address of a list as it was left. */
  listHref(page) {
    return this.#lists.get(page) ?? this.route.href([page]);
  }

  /** Go somewhere; `replace` leaves no step to go back to. */
  go(href, { replace = false } = {}) {
    if (replace) location.replace(href);
    else location.hash = href;
  }

  signIn(token) {
    this.credentials.keep(token);
    this.#renew();
  }

  signOut() {
    this.credentials.forget();
    this.#renew();
  }

  /** Do something and say what came of it; answers undefined when it failed. */
  async attempt(action, told) {
    try {
      const answer = await action();
      if (told) this.toasts.tell(typeof told === "function" ? told(answer) : told);
      return answer;
    } catch (error) {
      if (!(error instanceof Failure)) throw error;
      this.toasts.fail(error);
      return undefined;
    }
  }

  get needsToken() {
    return this.pulse.failure?.code === 401;
  }

  #arrive() {
    const before = this.route;
    this.route = Route.read(location.hash);
    if (before.namespace !== this.route.namespace) this.#renew();
    else this.#enter();
  }

  /** Another identity or namespace: nothing that was shown holds any more. */
  #renew() {
    this.pulse.restart();
    this.#lists.clear();
    this.#leave();
    this.#enter();
  }

  #enter() {
    const kinds = PAGES[this.route.page] ?? [];
    const Kind = kinds[this.route.parts.length - 1] ?? MissingPage;
    const isSame =
      this.#page instanceof Kind && this.#page.route.parts.join("/") === this.route.parts.join("/");
    if (!isSame) {
      this.#leave();
      this.#life = new AbortController();
      this.#page = new Kind(this, this.#life.signal);
      scrollTo(0, 0);
    }
    if (this.route.parts.length === 1) this.#lists.set(this.route.page, location.hash);
    this.#page.route = this.route;
    this.#page.enter();
    this.schedule();
  }

  #leave() {
    this.#life.abort();
    this.#page = null;
  }

  #draw() {
    const page = this.needsToken ? new LoginPage(this) : this.#page;
    render(html`${renderShell(this, page)}${this.dialogs.render()}${this.toasts.render()}`, this.#root);
    document.title = `${page.title} · upbeat`; // Drawing may have found out what it is about.
    page.drawn?.();
  }

  #press(key) {
    if (this.needsToken) return false;
    if (this.#page?.press?.(key)) return true;
    switch (key) {
      case "j":
        return moveFocus(1);
      case "k":
        return moveFocus(-1);
      case "/":
        return this.#focus("[data-filter]");
      case "[":
        return this.#click("[data-page=previous]");
      case "]":
        return this.#click("[data-page=next]");
      case "Escape":
        return this.#click("[data-up]");
      case "d":
        this.theme.toggle();
        return true;
      case "?":
        showHelp(this.dialogs);
        return true;
    }
    const place = { "g o": "overview", "g t": "tasks", "g a": "agents", "g b": "bus" }[key];
    if (place) this.go(this.route.href([place]));
    return Boolean(place);
  }

  #focus(selector) {
    const element = document.querySelector(selector);
    element?.focus();
    element?.select?.();
    return Boolean(element);
  }

  #click(selector) {
    const element = document.querySelector(selector);
    element?.click();
    return Boolean(element);
  }
}
