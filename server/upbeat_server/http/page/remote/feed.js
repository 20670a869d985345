// A server stream that is kept open while somebody looks, and opened anew when it breaks.

import { Failure } from "./failure.js";
import { after, unwatched, watched } from "./presence.js";

const BACKOFF_FIRST_MS = 500;
const BACKOFF_MAX_MS = 15_000;

/** States of a Feed. */
export const FeedState = Object.freeze({
  OPENING: "opening",
  LIVE: "live",
  RESTING: "resting", // The tab is hidden.
  RETRYING: "retrying",
  FAILED: "failed", // Trying again does not help.
  ENDED: "ended", // There is nothing more to come.
});

export class Feed {
  /**
   * @param {object} source
   * @param {(signal: AbortSignal) => AsyncIterable<object>} source.open opens the stream
   * @param {(message: object) => void} source.take is given each message
   * @param {() => void} [source.begin] is called when a stream has been opened (anew)
   * @param {() => void} source.changed is called when the state changes
   * @param {boolean} [source.isFinite] the server ends it when there is nothing more to come
   * @param {() => number} [source.paceMs] how long to rest between two messages
   */
  constructor(source) {
    this.state = FeedState.OPENING;
    /** @type {Failure | null} */
    this.failure = null;
    this.#source = source;
    this.#run();
  }

  #source;
  #life = new AbortController();
  #failures = 0;

  close() {
    this.#life.abort();
  }

  async #run() {
    const life = this.#life.signal;
    try {
      while (!life.aborted) {
        await watched(life);
        if (await this.#once(life)) return;
      }
    } catch (error) {
      if (!life.aborted) throw error;
    }
  }

  /** One stream from its opening to its end; true if it was the last. */
  async #once(life) {
    const stream = new AbortController();
    const end = () => stream.abort();
    life.addEventListener("abort", end, { signal: stream.signal });
    unwatched(stream.signal).then(end, () => {});
    try {
      await this.#read(stream.signal);
    } catch (error) {
      if (life.aborted) return true;
      if (stream.signal.aborted) {
        this.#become(FeedState.RESTING);
        return false;
      }
      return await this.#fail(error, life);
    } finally {
      end();
    }
    if (this.#source.isFinite) {
      this.#become(FeedState.ENDED);
      return true;
    }
    return await this.#fail(new Failure(503, "UNAVAILABLE", "The stream ended."), life);
  }

  async #read(signal) {
    const { open, take, begin, paceMs } = this.#source;
    let isFirst = true;
    for await (const message of open(signal)) {
      if (signal.aborted) throw signal.reason;
      if (isFirst) begin?.();
      isFirst = false;
      this.#failures = 0;
      take(message);
      this.#become(FeedState.LIVE);
      const rest = paceMs?.() ?? 0;
      if (rest) await after(rest, signal);
    }
  }

  async #fail(error, life) {
    const failure = error instanceof Failure ? error : new Failure(0, "BROKEN", "The connection broke.");
    if (!failure.isPassing) {
      this.#become(FeedState.FAILED, failure);
      return true;
    }
    this.#become(FeedState.RETRYING, failure);
    const longest = Math.min(BACKOFF_MAX_MS, BACKOFF_FIRST_MS * 2 ** this.#failures++);
    await after(longest * (0.5 + Math.random() / 2), life);
    return false;
  }

  #become(state, failure = null) {
    if (this.state === state && this.failure === failure) return;
    this.state = state;
    this.failure = failure;
    this.#source.changed();
  }
}
