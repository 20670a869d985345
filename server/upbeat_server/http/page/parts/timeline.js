// A task's life as a drawing: where it waited, and each attempt, or each child, on a line of its own.

import { html, svg } from "../vendor/lit-html/lit-html.js";
import { clock, duration, timeMs } from "../text/units.js";
import { isCollaboration, isFinal, kindOf, shortName, taskState } from "../text/words.js";
import { icon } from "./icons.js";

const ROW = 28;
const BAR = 14;
const TICKS = 4;
const CHILDREN_MAX = 24;

/** @typedef {{ fromMs: number, toMs: number, kind: string, text: string }} Span kind: a state, an outcome or `wait` */
/** @typedef {{ mark: string, name: string, href: string, kind: string, spans: Span[] }} Row */

/**
 * A row for each attempt that is known, and one for waiting since the last.
 * @param {object} task
 * @param {number} nowMs
 * @param {(agentId: string) => string} agentHref
 * @returns {Row[]}
 */
export function attemptRows(task, nowMs, agentHref) {
  const endMs = isFinal(task) ? timeMs(task.endTime) : nowMs;
  // Last comes the one that completed, which may have begun before others: here they are in their order.
  const attempts = [...(task.attempts ?? [])].sort((one, other) => Number(one.attempt) - Number(other.attempt));
  let freeMs = timeMs(task.createTime);
  // Earlier attempts are not kept: what was before the first that is known is not all waiting.
  if (attempts.length && Number(attempts[0].attempt) > 1) freeMs = timeMs(attempts[0].startTime);
  const rows = attempts.map((attempt) => {
    const fromMs = timeMs(attempt.startTime);
    const toMs = timeMs(attempt.endTime) ?? endMs;
    const outcome = shortName(attempt.outcome, "OUTCOME_");
    const kind = outcome === "UNSPECIFIED" ? "RUNNING" : outcome;
    const spans = [waiting(Math.min(freeMs, fromMs), fromMs), { fromMs, toMs, kind, text: duration((toMs - fromMs) / 1_000) }];
    freeMs = Math.max(freeMs, toMs); // One that was hedged goes on beside the next.
    return {
      mark: `#${attempt.attempt}`,
      name: attempt.agentId,
      href: agentHref(attempt.agentId),
      kind,
      spans,
    };
  });
  if (!attempts.length || (endMs > freeMs + 1 && taskState(task) !== "RUNNING")) {
    const name = isCollaboration(task) ? "collaboration" : isFinal(task) ? "no agent" : "no agent yet";
    rows.push({ mark: "", name, href: "", kind: taskState(task), spans: [waiting(freeMs, endMs)] });
  }
  return rows;
}

/**
 * A row for each child.
 * @param {object[]} children
 * @param {number} nowMs
 * @param {(taskId: string) => string} taskHref
 * @returns {Row[]}
 */
export function childRows(children, nowMs, taskHref) {
  return children.slice(0, CHILDREN_MAX).map((child) => {
    const createMs = timeMs(child.createTime);
    const endMs = isFinal(child) ? timeMs(child.endTime) : nowMs;
    const startMs = timeMs(child.startTime);
    const kind = taskState(child);
    const spans = [waiting(createMs, startMs ?? endMs)];
    if (startMs !== null)
      spans.push({ fromMs: startMs, toMs: endMs, kind, text: duration((endMs - startMs) / 1_000) });
    return { mark: "", name: child.spec?.name || kindOf(child), href: taskHref(child.taskId), kind, spans };
  });
}

/** @param {object} task @param {Row[]} rows @param {number} nowMs */
export function timeline(task, rows, nowMs) {
  const fromMs = timeMs(task.createTime);
  const endMs = isFinal(task) ? timeMs(task.endTime) : nowMs;
  const toMs = Math.max(endMs, fromMs + 1, ...rows.flatMap((row) => row.spans.map((span) => span.toMs)));
  const share = (ms) => ((ms - fromMs) / (toMs - fromMs)) * 100;
  const spanS = (toMs - fromMs) / 1_000;
  return html`<div class="timeline">
    <ol class="timeline-names">
      ${rows.map(
        (
          row,
        ) => html`<li class="state-${row.kind}">${icon(row.kind, row.kind)}${row.mark ? html`<b>${row.mark}</b>` : ""}
          ${row.href ? html`<a href=${row.href} title=${row.name}>${row.name}</a>` : html`<span>${row.name}</span>`}
        </li>`,
      )}
    </ol>
    <div class="timeline-plot">
      <svg width="100%" height=${rows.length * ROW} role="img" aria-label=${told(rows)}>
        ${rows.map((row, at) => row.spans.map((span) => bar(span, at, share)))}
      </svg>
      <div class="timeline-axis">
        <span title=${clock(fromMs, 0)}>${clock(fromMs, toMs)}</span>
        ${Array.from({ length: TICKS - 1 }, (_, at) => html`<span>+${duration(spanS * ((at + 1) / TICKS))}</span>`)}
        <span>+${duration(spanS)}</span>
      </div>
    </div>
  </div>`;
}

function waiting(fromMs, toMs) {
  return { fromMs, toMs, kind: "wait", text: `waited ${duration((toMs - fromMs) / 1_000)}` };
}

function bar({ fromMs, toMs, kind, text }, at, share) {
  if (kind === "wait" && toMs <= fromMs) return "";
  // A bar of no length is still seen: its outline is.
  const width = Math.max(0, share(toMs) - share(fromMs));
  return svg`<rect class="span ${kind === "wait" ? "span-wait" : `state-${kind}`}" rx="3"
    x="${share(fromMs).toFixed(3)}%" y=${at * ROW + (ROW - BAR) / 2}
    width="${width.toFixed(3)}%" height=${BAR}><title>${text}</title></rect>`;
}

function told(rows) {
  return rows
    .map((row) => [row.mark, row.name, ...row.spans.map((span) => span.text)].filter(Boolean).join(" "))
    .join("; ");
}
