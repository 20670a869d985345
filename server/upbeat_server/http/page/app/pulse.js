// The figures of the namespace, once a second, for whatever on the page shows them.

import { Feed } from "../remote/feed.js";
import { timeMs } from "../text/units.js";

export class Pulse {
  /**
   * @param {import("../remote/client.js").Client} client
   * @param {() => void} changed
   */
  constructor(client, changed) {
    this.#client = client;
    this.#changed = changed;
  }

  #client;
  #changed;
  #feed = null;
  #listeners = new Set();
  #skewMs = 0;

  /** The latest figures; null before the first. */
  stats = null;

  get state() {
    return this.#feed?.state ?? "opening";
  }

  get failure() {
    return this.#feed?.failure ?? null;
  }

  /** Now by the clock of the server, in milliseconds: what ages and bars are counted from. */
  get nowMs() {
    return Date.now() + this.#skewMs;
  }

  /** Begin anew: another namespace, another token. */
  restart() {
    this.#feed?.close();
    this.stats = null;
    this.#feed = new Feed({
      open: (signal) => this.#client.watch("stats:watch", { interval: "1s" }, signal),
      take: (message) => this.#take(message.stats),
      changed: this.#changed,
    });
  }

  /** Be given each frame of figures, until the signal is aborted. */
  listen(listener, signal) {
    this.#listeners.add(listener);
    signal.addEventListener("abort", () => this.#listeners.delete(listener));
  }

  #take(stats) {
    this.stats = stats;
    this.#skewMs = timeMs(stats.time) - Date.now();
    for (const listener of this.#listeners) listener(stats);
    this.#changed();
  }
}
