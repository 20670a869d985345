// How the figures were, as columns for plots: what the server kept, and the latest figures as the last point.

import { number, seconds, timeMs } from "../text/units.js";
import { PRIORITIES } from "../text/words.js";

export class History {
  #points = []; // By time; each `{ ms, columns }`.
  #now = null;
  #windowMs;

  /** @param {number} windowMs how far back it goes */
  constructor(windowMs) {
    this.#windowMs = windowMs;
  }

  /** Add what the server tells; points that are known already are replaced. */
  merge(points) {
    const byTime = new Map(this.#points.map((point) => [point.ms, point]));
    for (const point of points)
      byTime.set(timeMs(point.time), { ms: timeMs(point.time), columns: columnsOf(point) });
    const sorted = [...byTime.values()].sort((a, b) => a.ms - b.ms);
    const from = (sorted.at(-1)?.ms ?? 0) - this.#windowMs;
    this.#points = sorted.filter((point) => point.ms >= from);
  }

  /** The figures of this second stand at the end until the server has a point for them. */
  follow(stats) {
    this.#now = {
      ms: timeMs(stats.time),
      columns: columnsOf({
        ...stats,
        submittedPerSecond: stats.submitted?.perSecond1s,
        completedPerSecond: stats.completed?.perSecond1s,
        failedPerSecond: stats.failed?.perSecond1s,
      }),
    };
  }

  get isEmpty() {
    return this.#points.length + (this.#now ? 1 : 0) < 2;
  }

  /** Times in seconds, then the named columns, as uPlot wants them. */
  columns(names) {
    const all =
      this.#now && this.#now.ms > (this.#points.at(-1)?.ms ?? 0)
        ? [...this.#points, this.#now]
        : this.#points;
    return [all.map(({ ms }) => ms / 1_000), ...names.map((name) => all.map(({ columns }) => columns[name]))];
  }
}

function columnsOf(point) {
  const columns = {
    submitted: number(point.submittedPerSecond),
    completed: number(point.completedPerSecond),
    failed: number(point.failedPerSecond),
    waitP50: seconds(point.wait?.p50),
    waitP99: seconds(point.wait?.p99),
    runP50: seconds(point.run?.p50),
    runP99: seconds(point.run?.p99),
    slots: number(point.slots),
    slotsInUse: number(point.slotsInUse),
  };
  for (const priority of PRIORITIES) {
    const queue = point.queueByPriority?.[priority];
    columns[`depth${priority}`] = number(queue?.depth);
    columns[`age${priority}`] = seconds(queue?.oldestAge) ?? 0;
  }
  return columns;
}
