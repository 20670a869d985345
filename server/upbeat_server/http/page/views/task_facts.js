// What there is to say about a task beside its story.

import { html } from "../vendor/lit-html/lit-html.js";
import { facts, labels } from "../parts/facts.js";
import { ago, clock, count, duration, number, seconds, timeMs } from "../text/units.js";
import { modeOf, sentenceCase, shortName } from "../text/words.js";

/** @param {object} task @param {import("../app/app.js").App} app */
export function taskFacts(task, app) {
  const spec = task.spec ?? {};
  const link = (taskId) => html`<a href=${app.route.href(["tasks", taskId])}><code>${taskId}</code></a>`;
  return html`
    ${facts("Place", placeOf(task, spec, link))} ${facts("Times", timesOf(task, app.pulse.nowMs))}
    ${facts("Terms", termsOf(spec))} ${facts("Usage", usageOf(task.usage ?? {}))} ${labels(spec.labels)}`;
}

function placeOf(task, spec, link) {
  const retryOf = spec.labels?.["upbeat.retry_of"];
  const isDeeper =
    task.rootTaskId && task.rootTaskId !== task.taskId && task.rootTaskId !== task.parentTaskId;
  return [
    ["Parent", task.parentTaskId && link(task.parentTaskId)],
    ["Root", isDeeper && link(task.rootTaskId)],
    ["Member", task.member],
    ["Retry of", retryOf && link(retryOf)],
    ["Mode", sentenceCase(modeOf(spec))],
    ["Namespace", task.namespace],
    ["Request", task.requestId && html`<code>${task.requestId}</code>`],
  ];
}

function timesOf(task, nowMs) {
  const time = (timestamp) =>
    timestamp && html`<span title=${clock(timeMs(timestamp), 0)}>${clock(timeMs(timestamp), nowMs)}</span>`;
  return [
    [
      "Created",
      html`${time(task.createTime)} <span class="muted">${ago(timeMs(task.createTime), nowMs)}</span>`,
    ],
    ["Eligible", time(task.eligibleTime)],
    ["Queued", time(task.queueTime)],
    ["Started", time(task.startTime)],
    ["Ended", time(task.endTime)],
    ["Deadline", time(task.deadlineTime)],
    ["Purged", time(task.expireTime)],
  ];
}

function termsOf(spec) {
  const span = (given) => given && duration(seconds(given));
  const code = (given) => given && html`<code>${given}</code>`;
  return [
    ["Requires", spec.requiredCapabilities?.join(", ")],
    ["Selector", code(spec.selector)],
    ["Fairness", spec.fairnessKey],
    ["Attempt timeout", span(spec.attemptTimeout)],
    ["Queue timeout", span(spec.queueTimeout)],
    ["Total timeout", span(spec.totalTimeout)],
    ["Attempts at most", spec.retry && (number(spec.retry.maxAttempts) || 3)],
    ["Side effects", spec.sideEffects && sentenceCase(shortName(spec.sideEffects, "SIDE_EFFECTS_"))],
    ["Dedup key", code(spec.dedupKey)],
    ["Trace", code(spec.traceparent)],
  ];
}

function usageOf(usage) {
  const cost = number(usage.costMicros) / 1e6;
  return [
    ["Tokens read", number(usage.inputTokens) && count(usage.inputTokens)],
    ["Tokens written", number(usage.outputTokens) && count(usage.outputTokens)],
    ["Cost", cost && cost.toFixed(4)],
  ];
}
