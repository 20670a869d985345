// A call that is repeated while somebody looks; one at a time, and gently when the server is slow.

import { Failure } from "./failure.js";
import { after, watched } from "./presence.js";

export class Poll {
  /**
   * @param {object} source
   * @param {(signal: AbortSignal) => Promise<void>} source.call
   * @param {() => void} source.changed is called after each call
   * @param {number} source.everyMs
   * @param {() => boolean} [source.isDone] nothing can change any more
   */
  constructor(source) {
    /** @type {Failure | null} */
    this.failure = null;
    this.isLoading = true;
    this.#source = source;
    this.#run();
  }

  #source;
  #life = new AbortController();
  #wake = () => {};

  close() {
    this.#life.abort();
  }

  /** Call now instead of later. */
  hurry() {
    this.#wake();
  }

  async #run() {
    const life = this.#life.signal;
    try {
      for (;;) {
        await watched(life);
        const begun = performance.now();
        await this.#once(life);
        if (this.#source.isDone?.() && !this.failure) return;
        const took = performance.now() - begun;
        await Promise.race([
          after(Math.max(this.#source.everyMs, 5 * took), life),
          new Promise((resolve) => (this.#wake = resolve)),
        ]);
      }
    } catch (error) {
      if (!life.aborted) throw error;
    }
  }

  async #once(life) {
    try {
      await this.#source.call(life);
      this.failure = null;
    } catch (error) {
      if (life.aborted) throw error;
      if (!(error instanceof Failure)) throw error;
      this.failure = error;
    }
    this.isLoading = false;
    this.#source.changed();
  }
}
