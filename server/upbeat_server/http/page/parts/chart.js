// A plot over time on uPlot, with a legend of its own that shows the values under the pointer.

import uPlot from "../vendor/uplot/uPlot.esm.js";
import { html } from "../vendor/lit-html/lit-html.js";
import { ref } from "../vendor/lit-html/directives/ref.js";
import { colours } from "../app/theme.js";
import { clock } from "../text/units.js";

const HEIGHT = 168;
const STEPS_S = [1, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1_800, 3_600];
const WHOLE_STEPS = Array.from({ length: 10 }, (_, power) =>
  [1, 2, 5].map((step) => step * 10 ** power),
).flat();
const CURSORS = uPlot.sync("time");

/** @typedef {{ name: string, colour: string, dash?: number[], isFilled?: boolean }} Line */

export class Chart {
  /**
   * @param {object} options
   * @param {string} options.title
   * @param {Line[]} options.lines colours are names of custom properties
   * @param {(value: number) => string} options.format
   * @param {boolean} [options.isWhole] there is nothing between 1 and 2
   * @param {boolean} [options.isStacked] lines are drawn on top of each other, the first one below
   * @param {() => void} options.changed
   */
  constructor(options) {
    this.#options = options;
    this.#values = [[], ...options.lines.map(() => [])];
  }

  #options;
  #values;
  #plot = null;
  #element = null;
  #resize = new ResizeObserver(() => this.#fit());
  #mount = ref((element) => (element ? this.#attach(element) : this.#detach()));
  #at = null; // Index under the pointer.

  /** @param {number[][]} values seconds since 1970, then the values of each line; null is a gap */
  set(values) {
    this.#values = values;
    this.#plot?.setData(this.#drawn());
  }

  /** Colours have changed. */
  recolour() {
    if (this.#element) this.#attach(this.#element);
  }

  render() {
    const { title, lines, format } = this.#options;
    const [times] = this.#values;
    const at = this.#at ?? times.length - 1;
    const shown = lines.map((line, index) => ({ ...line, value: this.#values[index + 1][at] }));
    const told = shown.map(({ name, value }) => `${name} ${text(value, format)}`).join(", ");
    return html`<figure class="chart" aria-label="${title}: ${told}">
      <figcaption>
        <h2>${title}</h2>
        <span class="chart-time">${this.#at === null || !times[at] ? "" : clock(times[at] * 1_000)}</span>
      </figcaption>
      <ul class="legend">
        ${shown.map(
          ({ name, colour, dash, value }) => html`<li>
            <svg viewBox="0 0 18 8" class="colour-${colour}" aria-hidden="true">
              <line x1="0" y1="4" x2="18" y2="4" stroke-dasharray=${dash?.join(" ") ?? "none"} /></svg>
            ${name} <b>${text(value, format)}</b>
          </li>`,
        )}
      </ul>
      <div class="plot" role="presentation" ${this.#mount}></div>
    </figure>`;
  }

  #attach(element) {
    this.#detach();
    this.#element = element;
    this.#plot = new uPlot(this.#settings(element.clientWidth || 300), this.#drawn(), element);
    this.#resize.observe(element);
  }

  #detach() {
    this.#resize.disconnect();
    this.#plot?.destroy();
    this.#plot = null;
    this.#element = null;
  }

  #fit() {
    const width = this.#element?.clientWidth;
    if (width && width !== this.#plot.width) this.#plot.setSize({ width, height: HEIGHT });
  }

  /** Stacked lines are sums, drawn from the top down, each covering the one before. */
  #drawn() {
    if (!this.#options.isStacked) return this.#values;
    const [times, ...layers] = this.#values;
    const sums = [];
    for (const layer of layers) {
      const below = sums.at(-1);
      sums.push(layer.map((value, at) => (value ?? 0) + (below?.[at] ?? 0)));
    }
    return [times, ...sums.reverse()];
  }

  #settings(width) {
    const { lines, format, isStacked, isWhole } = this.#options;
    const names = lines.map((line) => line.colour);
    const palette = colours(["faint", "line", ...names]);
    const fills = colours(names, isStacked ? 60 : 13);
    const axis = {
      stroke: palette.faint,
      font: "11px system-ui",
      grid: { stroke: palette.line, width: 1 },
      ticks: { show: false },
    };
    const ordered = isStacked ? [...lines].reverse() : lines;
    return {
      width,
      height: HEIGHT,
      padding: [8, 6, 0, 0],
      legend: { show: false },
      cursor: { sync: { key: CURSORS.key }, drag: { x: false, y: false }, points: { size: 6 } },
      scales: { y: { range: (_plot, _low, high) => [0, high > 0 ? high * 1.08 : 1] } },
      axes: [
        {
          ...axis,
          size: 24,
          gap: 4,
          space: 72,
          grid: { show: false },
          incrs: STEPS_S,
          values: (_plot, ticks, _axis, _space, step) => ticks.map((tick) => timeOfDay(tick, step)),
        },
        {
          ...axis,
          size: 56,
          gap: 6,
          space: 34,
          ...(isWhole && { incrs: WHOLE_STEPS }),
          values: (_plot, ticks) => ticks.map((tick) => (tick === null ? "" : format(tick))),
        },
      ],
      series: [
        {},
        ...ordered.map((line) =>
          seriesOf(line, palette[line.colour], isStacked || line.isFilled ? fills[line.colour] : undefined),
        ),
      ],
      hooks: { setCursor: [(plot) => this.#point(plot.cursor.idx)] },
    };
  }

  #point(at) {
    const next = at ?? null;
    if (next === this.#at) return;
    this.#at = next;
    this.#options.changed();
  }
}

function seriesOf({ dash }, stroke, fill) {
  return { stroke, width: 1.6, dash, fill, points: { show: false }, spanGaps: false };
}

/** `14:03`, or `14:03:20` where ticks are closer than a minute. */
function timeOfDay(tickS, stepS) {
  const at = new Date(tickS * 1_000);
  const parts = [at.getHours(), at.getMinutes(), ...(stepS < 60 ? [at.getSeconds()] : [])];
  return parts.map((part) => String(part).padStart(2, "0")).join(":");
}

function text(value, format) {
  return value === null || value === undefined ? "–" : format(value);
}
