// All agents of a namespace, live: a listing, then every change, at a pace that the page can follow.

import { Feed } from "../remote/feed.js";
import { number } from "../text/units.js";
import { agentState } from "../text/words.js";

/** By what the list can be sorted. Ties, and everything, end with the id. */
export const ORDERS = {
  agent: (agent) => agent.agentId,
  state: (agent) => STATE_RANK[agentState(agent)] ?? 9,
  load: (agent) => number(agent.inUse),
  completed: (agent) => number(agent.completedCount),
  failed: (agent) => number(agent.failedCount),
};

const STATE_RANK = { CONNECTED: 0, SUSPECT: 1, DRAINING: 2, DISCONNECTED: 3 };
const ORDER_MS = 1_000; // How long an order holds: rows that jump about four times a second cannot be read.
const REST_MS = 250; // Between two frames once the listing is through: the server keeps the last word of each agent.

export class Roster {
  /**
   * @param {import("../remote/client.js").Client} client
   * @param {() => void} changed
   */
  constructor(client, changed) {
    this.isComplete = false;
    this.feed = new Feed({
      open: (signal) => client.watch("agents:watch", {}, signal),
      begin: () => {
        this.isComplete = false;
        this.#listed = new Set();
      },
      take: (frame) => this.#take(frame),
      changed,
      paceMs: () => (this.isComplete ? REST_MS : 0),
    });
    this.#changed = changed;
  }

  #changed;
  #agents = new Map();
  #listed = new Set();
  #selected = { key: "", agentIds: [], version: -1, atMs: 0 };
  #counts = { version: -1, byState: {} };
  #version = 0;

  close() {
    this.feed.close();
  }

  get size() {
    return this.#agents.size;
  }

  /** How many are in each state. */
  counts() {
    if (this.#counts.version === this.#version) return this.#counts.byState;
    const byState = {};
    for (const agent of this.#agents.values()) {
      const state = agentState(agent);
      byState[state] = (byState[state] ?? 0) + 1;
    }
    this.#counts = { version: this.#version, byState };
    return byState;
  }

  /** An agent as it is now. */
  get(agentId) {
    return this.#agents.get(agentId);
  }

  /**
   * The ids of those that match, in order: the order of up to a second ago.
   * @param {{ text: string, state: string, order: string, isDescending: boolean }} wish
   */
  select(wish) {
    const key = JSON.stringify(wish);
    const { key: before, version, atMs, agentIds: known } = this.#selected;
    const isFresh = version === this.#version || (this.isComplete && performance.now() - atMs < ORDER_MS);
    if (before === key && isFresh) return known;
    const { text, state, order, isDescending } = wish;
    const words = text.toLowerCase().split(/\s+/).filter(Boolean);
    const rank = ORDERS[order] ?? ORDERS.agent;
    const sign = isDescending ? -1 : 1;
    const agentIds = [...this.#agents.values()]
      .filter(
        (agent) => (!state || agentState(agent) === state) && words.every((word) => matches(agent, word)),
      )
      .map((agent) => ({ agent, by: rank(agent) }))
      .sort((a, b) => sign * compare(a.by, b.by) || compare(a.agent.agentId, b.agent.agentId))
      .map(({ agent }) => agent.agentId);
    this.#selected = { key, agentIds, version: this.#version, atMs: performance.now() };
    return agentIds;
  }

  #take(frame) {
    for (const agent of frame.agents ?? []) {
      this.#agents.set(agent.agentId, agent);
      if (!this.isComplete) this.#listed.add(agent.agentId);
    }
    if (frame.snapshotDone) this.#complete();
    this.#version++;
    this.#changed();
  }

  /** What was not in the new listing was forgotten while nobody looked. */
  #complete() {
    for (const agentId of this.#agents.keys()) {
      if (!this.#listed.has(agentId)) this.#agents.delete(agentId);
    }
    this.#selected.key = ""; // It may name some that are gone.
    this.#listed = new Set();
    this.isComplete = true;
  }
}

function matches(agent, word) {
  return (
    agent.agentId.toLowerCase().includes(word) ||
    (agent.name ?? "").toLowerCase().includes(word) ||
    (agent.capabilities ?? []).some((capability) => capability.toLowerCase().includes(word)) ||
    Object.entries(agent.labels ?? {}).some(([key, value]) => `${key}=${value}`.toLowerCase().includes(word))
  );
}

function compare(a, b) {
  return a < b ? -1 : a > b ? 1 : 0;
}
