// A collaboration as a tree, drawn from left to right: parents stand in the middle of their children.

import { html, svg } from "../vendor/lit-html/lit-html.js";
import { repeat } from "../vendor/lit-html/directives/repeat.js";
import { duration, plural, timeMs } from "../text/units.js";
import { isFinal, kindOf, priorityOf, sentenceCase, taskState } from "../text/words.js";
import { shape } from "./icons.js";

const WIDTH = 224;
const HEIGHT = 46;
const GAP_X = 56;
const GAP_Y = 10;
const NAME_CHARACTERS_MAX = 22;
const NOTE_CHARACTERS_MAX = 30;

/** @typedef {{ task: object, children: Branch[], hidden: number }} Branch hidden: children that are not drawn */
/** @typedef {{ branch: Branch | null, hidden: number, depth: number, y: number, parent: Place | null }} Place */

/**
 * Where everything stands: leaves one below the other, in order.
 * @param {Branch} root
 * @returns {Place[]} parents before their children
 */
export function layout(root) {
  const places = [];
  let nextY = 0;
  const put = (branch, depth, parent) => {
    const place = { branch, hidden: 0, depth, y: 0, parent };
    places.push(place);
    const below = branch.children.map((child) => put(child, depth + 1, place));
    if (branch.hidden) {
      const unseen = { branch: null, hidden: branch.hidden, depth: depth + 1, y: nextY, parent: place };
      nextY += HEIGHT + GAP_Y;
      places.push(unseen);
      below.push(unseen);
    }
    if (below.length) {
      place.y = (below[0].y + below.at(-1).y) / 2;
    } else {
      place.y = nextY;
      nextY += HEIGHT + GAP_Y;
    }
    return place;
  };
  put(root, 0, null);
  return places;
}

/**
 * @param {Branch} root
 * @param {object} view
 * @param {number} view.nowMs
 * @param {(taskId: string) => string} view.taskHref
 * @param {(taskId: string) => string} view.childrenHref
 */
export function tree(root, view) {
  const places = layout(root);
  const width = (Math.max(...places.map((place) => place.depth)) + 1) * (WIDTH + GAP_X) - GAP_X + 4;
  const height = Math.max(...places.map((place) => place.y)) + HEIGHT + 4;
  const winners = new Set();
  for (const { branch } of places) winners.add(branch?.task.collaborationResult?.winnerTaskId);
  return html`<div class="tree" tabindex="0" aria-label="Tree of the collaboration">
    <svg width=${width} height=${height} viewBox="-2 -2 ${width} ${height}" role="group">
      ${places.map((place) => (place.parent ? edge(place, winners) : ""))}
      ${repeat(places, keyOf, (place) => (place.branch ? node(place, winners, view) : rest(place, view)))}
    </svg>
  </div>`;
}

function keyOf(place) {
  return place.branch ? place.branch.task.taskId : `rest of ${place.parent.branch.task.taskId}`;
}

function edge(place, winners) {
  const fromX = place.parent.depth * (WIDTH + GAP_X) + WIDTH;
  const fromY = place.parent.y + HEIGHT / 2;
  const toX = place.depth * (WIDTH + GAP_X);
  const toY = place.y + HEIGHT / 2;
  const middle = (fromX + toX) / 2;
  const state = place.branch ? taskState(place.branch.task) : "";
  const wins = place.branch && winners.has(place.branch.task.taskId);
  return svg`<path class="edge state-${state} ${wins ? "wins" : ""}"
    d="M${fromX} ${fromY}C${middle} ${fromY} ${middle} ${toY} ${toX} ${toY}" />`;
}

function node(place, winners, { nowMs, taskHref }) {
  const { task } = place.branch;
  const state = taskState(task);
  const wins = winners.has(task.taskId);
  const name = task.spec?.name || kindOf(task);
  const note = noteOf(task, nowMs);
  return svg`<a href=${taskHref(task.taskId)} aria-label="${name}, ${sentenceCase(state)}, ${note}${wins ? ", won" : ""}"
    class="node state-${state} ${wins ? "wins" : ""}"
    transform="translate(${place.depth * (WIDTH + GAP_X)} ${place.y})">
    <title>${task.member || task.taskId} · ${kindOf(task)} · ${sentenceCase(state)} · ${priorityOf(task)}</title>
    <rect width=${WIDTH} height=${HEIGHT} rx="7" class="card" />
    ${shape(state, 20, HEIGHT / 2)}
    <text x="38" y="19" class="node-name">${cut(name, NAME_CHARACTERS_MAX)}</text>
    <text x="38" y="35" class="node-note">${cut(note, NOTE_CHARACTERS_MAX)}</text>
    ${wins ? svg`<g class="crown">${shape("crown", WIDTH - 16, 14)}</g>` : ""}
  </a>`;
}

function rest(place, { childrenHref }) {
  const parent = place.parent.branch.task;
  return svg`<a href=${childrenHref(parent.taskId)} class="node rest"
    transform="translate(${place.depth * (WIDTH + GAP_X)} ${place.y})">
    <rect width=${WIDTH} height=${HEIGHT} rx="7" class="card" />
    <text x="16" y=${HEIGHT / 2 + 4} class="node-name">${plural(place.hidden, "more child").replace("childs", "children")} …</text>
  </a>`;
}

function noteOf(task, nowMs) {
  const startMs = timeMs(task.startTime);
  const took =
    startMs === null ? "" : duration(((isFinal(task) ? timeMs(task.endTime) : nowMs) - startMs) / 1_000);
  const who = task.attempts?.at(-1)?.agentId || task.member;
  return [took, who].filter(Boolean).join(" · ") || sentenceCase(taskState(task));
}

function cut(text, charactersMax) {
  return text.length > charactersMax ? `${text.slice(0, charactersMax - 1)}…` : text;
}
