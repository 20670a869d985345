// What agents worked on lately, kept up to date: only what ended since the last look is asked for.

import { Poll } from "../remote/poll.js";
import { timeMs } from "../text/units.js";
import { shortName } from "../text/words.js";

const EVERY_MS = 2_000;
const LIMIT = 5_000;
const OVERLAP_MS = 1_000;

/** @typedef {import("../parts/lanes.js").Run} Run */

export class Runs {
  /**
   * @param {object} source
   * @param {import("../remote/client.js").Client} source.client
   * @param {string} source.agentId `-` for those of all agents
   * @param {number} source.spanMs how far back
   * @param {() => number} source.nowMs
   * @param {() => void} source.changed
   */
  constructor({ client, agentId, spanMs, nowMs, changed }) {
    this.poll = new Poll({
      call: async (signal) => {
        const from = Math.max(nowMs() - spanMs, this.#seenMs - OVERLAP_MS);
        const query = { end_time_from: new Date(from).toISOString(), limit: LIMIT };
        const answer = await client.get(`agents/${encodeURIComponent(agentId)}/attempts`, query, signal);
        this.#merge(answer.attempts ?? [], nowMs() - spanMs);
      },
      changed,
      everyMs: EVERY_MS,
    });
  }

  #ended = new Map();
  #byAgent = new Map();
  #seenMs = 0;

  close() {
    this.poll.close();
  }

  /** @returns {Run[]} */
  of(agentId) {
    return this.#byAgent.get(agentId) ?? [];
  }

  /** Every agent that ran something. */
  get agentIds() {
    return [...this.#byAgent.keys()];
  }

  #merge(attempts, fromMs) {
    const running = [];
    for (const attempt of attempts) {
      const run = runOf(attempt);
      if (run.toMs === null) running.push(run);
      else {
        this.#ended.set(`${run.taskId} ${run.attempt}`, run);
        this.#seenMs = Math.max(this.#seenMs, run.toMs);
      }
    }
    for (const [key, run] of this.#ended) if (run.toMs < fromMs) this.#ended.delete(key);
    this.#byAgent = Map.groupBy([...this.#ended.values(), ...running], (run) => run.agentId);
  }
}

function runOf(attempt) {
  return {
    agentId: attempt.agentId,
    taskId: attempt.taskId,
    type: attempt.type,
    attempt: attempt.attempt,
    fromMs: timeMs(attempt.startTime),
    toMs: timeMs(attempt.endTime),
    outcome: shortName(attempt.outcome, "OUTCOME_"),
  };
}
