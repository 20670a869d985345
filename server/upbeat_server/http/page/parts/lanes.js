// The task stream: a row for each agent, and in it what it ran when, coloured by type.
//
// Drawn on one canvas that covers the rows in sight, so that it costs the same for ten
// agents and for ten thousand.

import { html } from "../vendor/lit-html/lit-html.js";
import { ref } from "../vendor/lit-html/directives/ref.js";
import { colours } from "../app/theme.js";
import { clock, duration } from "../text/units.js";
import { sentenceCase } from "../text/words.js";

export const TYPE_COLOURS = ["type-1", "type-2", "type-3", "type-4", "type-5", "type-6", "type-7", "type-8"];

const BAD = new Set(["FAILED", "TIMED_OUT", "LEASE_LOST"]);
const AXIS_PX = 22;
const TICK_PX = 110;
const STEPS_S = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1_800, 3_600];

/** @typedef {{ taskId: string, type: string, attempt: number, fromMs: number, toMs: number | null, outcome: string }} Run */
/** @typedef {{ name: string, href: string, runs: Run[] }} Lane */

export class Lanes {
  /**
   * @param {object} options
   * @param {number} options.rowPx
   * @param {(run: Run) => void} options.open
   * @param {() => void} options.changed
   */
  constructor(options) {
    this.#options = options;
  }

  #options;
  #canvas = null;
  #palette = null;
  #boxes = []; // What is where, for the pointer.
  #pointed = null;
  #types = new Map();
  #resize = new ResizeObserver(() => this.#options.changed());
  #mount = ref((element) => this.#attach(element));
  #view = null;

  recolour() {
    this.#palette = null;
  }

  /** The name of the colour of a type: the same for as long as the page is open. */
  colourOf(type) {
    if (!this.#types.has(type)) this.#types.set(type, TYPE_COLOURS[this.#types.size % TYPE_COLOURS.length]);
    return this.#types.get(type);
  }

  /**
   * @param {object} view
   * @param {Lane[]} view.lanes those in sight
   * @param {number} view.fromMs
   * @param {number} view.toMs
   */
  render(view) {
    this.#view = view;
    const height = AXIS_PX + view.lanes.length * this.#options.rowPx;
    return html`<div class="lanes" role="img" aria-label=${told(view)}>
      <ul class="lane-names" .style=${`padding-top:${AXIS_PX}px`}>
        ${view.lanes.map(
          (lane) => html`<li .style=${`height:${this.#options.rowPx}px`}>
            <a href=${lane.href} data-row title=${lane.name}>${lane.name}</a></li>`,
        )}
      </ul>
      <div class="lane-plot" .style=${`height:${height}px`}>
        <canvas ${this.#mount} @pointermove=${(event) => this.#point(event)} @pointerleave=${() => this.#point(null)}
          @click=${() => this.#pointed && this.#options.open(this.#pointed.run)}></canvas>
        ${this.#pointed ? this.#tip() : ""}
      </div>
    </div>`;
  }

  /** After drawing the page: draw the canvas, whose size is known now. */
  drawn() {
    const canvas = this.#canvas;
    if (!canvas?.isConnected || !this.#view) return;
    const { clientWidth: width, clientHeight: height } = canvas;
    const scale = devicePixelRatio || 1;
    if (canvas.width !== Math.round(width * scale) || canvas.height !== Math.round(height * scale)) {
      canvas.width = Math.round(width * scale);
      canvas.height = Math.round(height * scale);
    }
    this.#palette ??= colours(["line", "faint", "text", "FAILED", ...TYPE_COLOURS]);
    const pen = canvas.getContext("2d");
    pen.setTransform(scale, 0, 0, scale, 0, 0);
    pen.clearRect(0, 0, width, height);
    this.#boxes = [];
    this.#drawAxis(pen, width, height);
    this.#view.lanes.forEach((lane, at) =>
      this.#drawLane(pen, lane, AXIS_PX + at * this.#options.rowPx, width),
    );
  }

  #drawAxis(pen, width, height) {
    const { fromMs, toMs } = this.#view;
    const spanS = (toMs - fromMs) / 1_000;
    const step = STEPS_S.find((candidate) => (candidate / spanS) * width >= TICK_PX) ?? STEPS_S.at(-1);
    pen.font = "11px system-ui";
    pen.textBaseline = "middle";
    for (let tick = Math.ceil(fromMs / 1_000 / step) * step * 1_000; tick < toMs; tick += step * 1_000) {
      const x = Math.round(((tick - fromMs) / (toMs - fromMs)) * width) + 0.5;
      pen.fillStyle = this.#palette.line;
      pen.fillRect(x, AXIS_PX - 4, 1, height);
      pen.fillStyle = this.#palette.faint;
      pen.fillText(clock(tick, tick).slice(0, 8), x + 4, AXIS_PX / 2);
    }
  }

  #drawLane(pen, lane, top, width) {
    const { rowPx } = this.#options;
    const { fromMs, toMs } = this.#view;
    pen.fillStyle = this.#palette.line;
    pen.fillRect(0, top + rowPx - 1, width, 1);
    const { placed, count } = packed(
      lane.runs.filter((run) => (run.toMs ?? toMs) >= fromMs && run.fromMs <= toMs),
    );
    const laneHeight = (rowPx - 8) / Math.max(count, 1);
    for (const { run, lane: at } of placed) {
      const x = Math.max(0, ((run.fromMs - fromMs) / (toMs - fromMs)) * width);
      const end = Math.min(width, (((run.toMs ?? toMs) - fromMs) / (toMs - fromMs)) * width);
      const box = {
        x,
        y: top + 4 + at * laneHeight,
        width: Math.max(end - x, 1),
        height: Math.max(laneHeight - 1, 1),
        run,
        lane,
      };
      this.#drawRun(pen, box);
      this.#boxes.push(box);
    }
  }

  #drawRun(pen, { x, y, width, height, run }) {
    pen.fillStyle = this.#palette[this.colourOf(run.type)];
    pen.globalAlpha = run.toMs === null ? 0.55 : 1; // Still running.
    pen.fillRect(x, y, width, height);
    pen.globalAlpha = 1;
    if (!BAD.has(run.outcome)) return;
    // A failure is told by its form too: a thick edge below.
    pen.fillStyle = this.#palette.FAILED;
    const edge = Math.max(2, height * 0.3);
    pen.fillRect(x, y + height - edge, Math.max(width, 2), edge);
  }

  #point(event) {
    const before = this.#pointed;
    this.#pointed = null;
    if (event) {
      const { offsetX: x, offsetY: y } = event;
      // A bar of a pixel is still found: the nearest within three.
      this.#pointed =
        this.#boxes.findLast(
          (box) => x >= box.x - 3 && x <= box.x + box.width + 3 && y >= box.y && y <= box.y + box.height,
        ) ?? null;
    }
    if (this.#pointed?.run !== before?.run) this.#options.changed();
    this.#canvas.classList.toggle("pointing", Boolean(this.#pointed));
  }

  #tip() {
    const { run, lane, x, y, height } = this.#pointed;
    const took = ((run.toMs ?? this.#view.toMs) - run.fromMs) / 1_000;
    const isRight = x > (this.#canvas?.clientWidth ?? 0) / 2;
    const place = isRight ? `right:calc(100% - ${x}px)` : `left:${x}px`;
    return html`<div class="lane-tip" .style=${`top:${y + height + 4}px;${place}`}>
      <b>${run.type}</b> ${run.toMs === null ? "running for" : sentenceCase(run.outcome) + " after"} ${duration(took)}
      <span class="muted">${run.taskId} · attempt ${run.attempt} · ${lane.name} · ${clock(run.fromMs)}</span>
    </div>`;
  }

  #attach(element) {
    this.#resize.disconnect();
    this.#canvas = element ?? null;
    if (element) this.#resize.observe(element);
  }
}

/**
 * Runs that overlap get lanes below each other, as few as possible: first free lane in order of starting.
 * @param {Run[]} runs
 */
export function packed(runs) {
  const freeMs = [];
  const placed = [...runs]
    .sort((a, b) => a.fromMs - b.fromMs)
    .map((run) => {
      let lane = freeMs.findIndex((ms) => ms <= run.fromMs);
      if (lane < 0) lane = freeMs.length;
      freeMs[lane] = run.toMs ?? Infinity;
      return { run, lane };
    });
  return { placed, count: freeMs.length };
}

function told({ lanes, fromMs, toMs }) {
  const runs = lanes.reduce((sum, lane) => sum + lane.runs.length, 0);
  return `What ${lanes.length} agents ran in the last ${duration((toMs - fromMs) / 1_000)}: ${runs} attempts`;
}
