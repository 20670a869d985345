// One task, kept up to date: all of it, then its changes, its progress and what its agent says while it runs.

import { Feed } from "../remote/feed.js";
import { Poll } from "../remote/poll.js";
import { number } from "../text/units.js";
import { isCollaboration, isFinal } from "../text/words.js";
import { grow } from "./grove.js";

const TREE_EVERY_MS = 2_000;
const EXPLAIN_EVERY_MS = 3_000;
const CHUNKS_CHARACTERS_MAX = 64_000;

export class TaskStory {
  /**
   * @param {object} source
   * @param {import("../remote/client.js").Client} source.client
   * @param {string} source.taskId
   * @param {() => void} source.changed
   */
  constructor({ client, taskId, changed }) {
    this.#client = client;
    this.#taskId = taskId;
    this.#changed = changed;
    this.#load();
  }

  #client;
  #taskId;
  #changed;
  #life = new AbortController();
  #feed = null;
  #treePoll = null;
  #explainPoll = null;
  #decoder = new TextDecoder();
  #attempt = 0;

  /** The task with its payloads; null before the first answer. */
  task = null;
  /** @type {import("../remote/failure.js").Failure | null} */
  failure = null;
  /** The text that the running attempt has sent so far. */
  chunks = "";
  tree = null;
  told = null; // An ExplainTaskResponse.

  close() {
    this.#life.abort();
    for (const source of [this.#feed, this.#treePoll, this.#explainPoll]) source?.close();
  }

  /** What is wrong with the stream of changes, if anything. */
  get trouble() {
    return this.#feed;
  }

  async #load() {
    const isFirst = this.task === null;
    try {
      const answer = await this.#client.get(this.#path(), { view: "TASK_VIEW_FULL" }, this.#life.signal);
      this.#merge(answer.task);
      this.failure = null;
    } catch (error) {
      if (this.#life.signal.aborted) return;
      this.failure = error;
    }
    if (isFirst && this.task) this.#follow();
    this.#changed();
  }

  #path() {
    return `tasks/${encodeURIComponent(this.#taskId)}`;
  }

  #follow() {
    const { signal } = this.#life;
    if (!isFinal(this.task)) {
      const query = { task_id: this.#taskId, progress: true };
      this.#feed = new Feed({
        open: (streamSignal) => this.#client.watch("tasks:watch", query, streamSignal),
        take: (frame) => this.#take(frame),
        changed: this.#changed,
        isFinite: true,
      });
    }
    this.#explainPoll = new Poll({
      call: async (pollSignal) => {
        this.told = await this.#client.get(`${this.#path()}:explain`, {}, pollSignal);
      },
      changed: this.#changed,
      everyMs: EXPLAIN_EVERY_MS,
      isDone: () => isFinal(this.task),
    });
    if (!isCollaboration(this.task)) return;
    this.#treePoll = new Poll({
      call: async () => {
        this.tree = await grow(this.#client, this.task, signal);
      },
      changed: this.#changed,
      everyMs: TREE_EVERY_MS,
      isDone: () => isFinal(this.task) && this.tree?.task.state === this.task.state,
    });
  }

  #take(frame) {
    for (const event of frame.events ?? []) {
      if (event.progress) this.#hear(event.progress);
      if (!event.task) continue;
      const wasOver = isFinal(this.task);
      // Changes come without payloads: those that are known stay, and the end is asked for in full.
      this.#merge({ ...event.task, spec: this.task.spec, output: this.task.output });
      if (isFinal(this.task) && !wasOver) this.#load();
    }
    this.#changed();
  }

  #merge(task) {
    if (this.task && number(task.revision) < number(this.task.revision)) return;
    this.task = task;
    this.#explainPoll?.hurry();
    this.#treePoll?.hurry();
  }

  #hear({ attempt, fraction, message, chunk }) {
    if (attempt !== this.#attempt) {
      this.#attempt = attempt;
      this.#decoder = new TextDecoder();
      this.chunks = "";
    }
    this.task = { ...this.task, progress: fraction, progressMessage: message };
    if (!chunk) return;
    const raw = Uint8Array.from(atob(chunk), (character) => character.charCodeAt(0));
    this.chunks = (this.chunks + this.#decoder.decode(raw, { stream: true })).slice(-CHUNKS_CHARACTERS_MAX);
  }
}
