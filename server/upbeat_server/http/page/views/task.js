// One task: where it is, how it came there, why it waits, and what it was given and gave.

import { html } from "../vendor/lit-html/lit-html.js";
import { TaskStory } from "../models/task_story.js";
import { priorityBadge, stateBadge } from "../parts/badges.js";
import { copyButton } from "../parts/copying.js";
import { explanation } from "../parts/explanation.js";
import { icon } from "../parts/icons.js";
import { failureBox, loading, troubleOf } from "../parts/notices.js";
import { payloadBox } from "../parts/payload.js";
import { tally } from "../parts/tally.js";
import { attemptRows, childRows, timeline } from "../parts/timeline.js";
import { tree } from "../parts/tree.js";
import { number, percent } from "../text/units.js";
import { isCollaboration, isFinal, kindOf, priorityOf, sentenceCase, taskState } from "../text/words.js";
import { attemptTable } from "./attempt_table.js";
import { taskFacts } from "./task_facts.js";

export class TaskPage {
  title = "Task";

  /** @param {import("../app/app.js").App} app @param {AbortSignal} life */
  constructor(app, life) {
    this.#app = app;
    life.addEventListener("abort", () => this.#story.close());
  }

  #app;
  #story = null;

  enter() {
    this.#story ??= new TaskStory({
      client: this.#app.client,
      taskId: this.route.parts[1],
      changed: () => this.#app.schedule(),
    });
  }

  render() {
    const { task, failure } = this.#story;
    if (!task) return html`${this.#head("Task")}${failure ? failureBox(failure) : loading(8)}`;
    const kind = kindOf(task);
    this.title = `${kind} ${sentenceCase(taskState(task))}`;
    return html`
      ${this.#head(kind, task)} ${failure ? failureBox(failure) : ""} ${troubleOf(this.#story.trouble)}
      <div class="detail">
        <div class="detail-main">
          ${this.#error(task)} ${this.#progress(task)}
          ${section("Timeline", this.#timeline(task))}
          ${this.#collaboration(task)}
          ${task.output ? section("Output", payloadBox(task.output, `${task.taskId}-output`)) : ""}
          ${this.#explain(task)}
          ${task.attempts?.length ? section("Attempts", attemptTable(task, this.#app.pulse.nowMs, this.#agentHref)) : ""}
          ${task.spec?.input ? section("Input", payloadBox(task.spec.input, `${task.taskId}-input`)) : ""}
        </div>
        <aside class="detail-side" aria-label="Facts">${taskFacts(task, this.#app)}</aside>
      </div>`;
  }

  #agentHref = (agentId) => this.#app.route.href(["agents", agentId]);
  #taskHref = (taskId) => this.#app.route.href(["tasks", taskId]);

  #head(kind, task) {
    const parent = task?.parentTaskId;
    return html`<div class="page-head">
      <a class="icon-button" data-up href=${parent ? this.#taskHref(parent) : this.#app.listHref("tasks")}
        title=${parent ? "To the parent (Esc)" : "To the tasks (Esc)"} aria-label=${parent ? "To the parent" : "To the tasks"}>${icon("up")}</a>
      <h1>${kind}</h1>
      <span class="id"><code>${this.route.parts[1]}</code>${copyButton(this.route.parts[1], "Copy the task id")}</span>
      ${task ? html`${stateBadge(taskState(task))}${priorityBadge(priorityOf(task))}` : ""}
      <span class="spring"></span>
      ${task ? this.#actions(task) : ""}
    </div>`;
  }

  #actions(task) {
    if (!isFinal(task)) {
      return html`<button class="button button-danger-quiet" @click=${() => this.#cancel(task)}>Cancel…</button>`;
    }
    if (taskState(task) === "COMPLETED" || task.parentTaskId) return "";
    return html`<button class="button button-primary" @click=${() => this.#retry(task)}>Retry…</button>`;
  }

  async #cancel(task) {
    const text = isCollaboration(task)
      ? "Its children are cancelled too, and agents that work on them are told at once."
      : "An agent that works on it is told at once; its result no longer counts.";
    if (
      !(await this.#app.dialogs.confirm({
        title: `Cancel this ${kindOf(task)} task?`,
        text,
        action: "Cancel the task",
        isDanger: true,
      }))
    )
      return;
    await this.#app.attempt(
      () => this.#app.client.delete(`tasks/${task.taskId}`, {}),
      "The task is cancelled.",
    );
  }

  async #retry(task) {
    const text = "The same spec is submitted as a new task; this one stays as it ended.";
    if (
      !(await this.#app.dialogs.confirm({
        title: `Retry this ${kindOf(task)} task?`,
        text,
        action: "Submit it again",
      }))
    )
      return;
    const answer = await this.#app.attempt(
      () => this.#app.client.post(`tasks/${task.taskId}:retry`),
      "Submitted again; this is the new task.",
    );
    if (answer?.task) this.#app.go(this.#taskHref(answer.task.taskId));
  }

  #error(task) {
    const { error } = task;
    if (!error || taskState(task) === "COMPLETED") return "";
    const details = Object.entries(error.details ?? {});
    return html`<section class="failure state-${taskState(task)}">
      <p>${icon(taskState(task))}<code>${error.reason}</code>${isFinal(task) ? "" : html` <span class="muted">of the last attempt</span>`}</p>
      <pre class="error-text">${error.message}</pre>
      ${details.length ? html`<dl class="facts">${details.map(([name, value]) => html`<div><dt>${name}</dt><dd>${value}</dd></div>`)}</dl>` : ""}
    </section>`;
  }

  #progress(task) {
    if (
      taskState(task) !== "RUNNING" ||
      (!number(task.progress) && !task.progressMessage && !this.#story.chunks)
    )
      return "";
    return section(
      "Progress",
      html`
      <div class="progress-line"><progress max="1" .value=${number(task.progress)} aria-label="Progress"></progress>
        <b>${percent(task.progress)}</b> <span>${task.progressMessage}</span></div>
      ${this.#story.chunks ? html`<pre class="code" tabindex="0" aria-label="Output so far">${this.#story.chunks}</pre>` : ""}`,
    );
  }

  /** Of a collaboration: its children, each on a line. */
  #timeline(task) {
    const nowMs = this.#app.pulse.nowMs;
    const children = this.#story.tree?.children ?? [];
    if (children.length)
      return timeline(
        task,
        childRows(
          children.map((child) => child.task),
          nowMs,
          this.#taskHref,
        ),
        nowMs,
      );
    return timeline(task, attemptRows(task, nowMs, this.#agentHref), nowMs);
  }

  #collaboration(task) {
    if (!isCollaboration(task)) return "";
    const view = {
      nowMs: this.#app.pulse.nowMs,
      taskHref: this.#taskHref,
      childrenHref: (taskId) =>
        this.#app.route.href(["tasks"], { filter: `parent = "${taskId}"`, order: "oldest" }),
    };
    const decision = task.collaborationResult ? tally(task.collaborationResult, this.#taskHref) : "";
    return html`
      ${decision ? section("Decision", decision) : ""}
      ${section("Collaboration", this.#story.tree ? tree(this.#story.tree, view) : loading(3), html`<a href=${view.childrenHref(task.taskId)}>as a list</a>`)}`;
  }

  #explain(task) {
    const { told } = this.#story;
    if (!told || (isFinal(task) && !told.choice)) return "";
    return section(
      isFinal(task) || taskState(task) === "RUNNING" ? "Why this agent" : "Why it waits",
      explanation(told, this.#agentHref),
    );
  }
}

function section(title, content, aside = "") {
  return html`<section class="panel"><h2>${title}<span class="spring"></span>${aside}</h2><div class="panel-content">${content}</div></section>`;
}
