// Cancelling or retrying everything that matches a filter: counted first, then done page by page.

import { number } from "../text/units.js";

const COUNT_LIMIT = 10_000;
const DO_LIMIT = 1_000;

/** What can be done in bulk. */
export const BULK = {
  cancel: {
    path: "tasks:cancel",
    done: "cancelled",
    verb: "Cancel",
    past: "cancelled",
    meaning: "unfinished",
  },
  retry: { path: "tasks:retry", done: "retried", verb: "Retry", past: "retried", meaning: "failed" },
};

export class Bulk {
  /**
   * @param {import("../remote/client.js").Client} client
   * @param {keyof BULK} kind
   * @param {string} filter
   * @param {() => void} changed
   */
  constructor(client, kind, filter, changed) {
    this.kind = BULK[kind];
    this.#client = client;
    this.#filter = filter || 'parent = ""';
    this.#changed = changed;
  }

  #client;
  #filter;
  #changed;
  #isStopped = false;

  matched = 0;
  done = 0;
  problemCount = 0;
  problems = [];
  /** @type {"counting" | "counted" | "doing" | "done" | "failed"} */
  state = "counting";
  failure = null;

  /** A dry run: how many there are. */
  count() {
    return this.#walk(COUNT_LIMIT, true, "counted", (answer) => (this.matched += number(answer.matched)));
  }

  /** Do it. */
  run() {
    this.state = "doing";
    return this.#walk(DO_LIMIT, false, "done", (answer) => {
      this.done += number(answer[this.kind.done]);
      this.problemCount += number(answer.problemCount);
      this.problems = [...this.problems, ...(answer.problems ?? [])].slice(0, 10);
    });
  }

  /** No further page. What was done stays done. */
  stop() {
    this.#isStopped = true;
  }

  async #walk(limit, dryRun, end, add) {
    let pageToken = "";
    try {
      do {
        const body = { filter: this.#filter, limit, dryRun, ...(pageToken && { pageToken }) };
        const answer = await this.#client.post(this.kind.path, body);
        add(answer);
        pageToken = answer.nextPageToken ?? "";
        this.#changed();
      } while (pageToken && !this.#isStopped);
      this.state = end;
    } catch (failure) {
      this.state = "failed";
      this.failure = failure;
    }
    this.#changed();
  }
}
