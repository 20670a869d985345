// An agent: handlers, the stream they are fed by, and how it leaves.

import { randomUUID } from "node:crypto";
import { decode, encode } from "./payload.mjs";
import { Session } from "./session.mjs";
import { Backoff, CHANNEL_OPTIONS, contract, milliseconds, Refused, targetOf } from "./wire.mjs";

const WELCOME_MS = 30_000; // How long the server may take to answer hello.
const GOODBYE_MS = 2_000; // How long it may take to end the stream after goodbye.
const MOVING_MS = 2_000; // How long results may take to be acknowledged by a server that is leaving.
const MESSAGE_BYTES_MAX = 1_024; // Of progress.

/** Thrown by a handler to fail its attempt with a reason of its own: up to 63 characters of `[A-Za-z0-9_.-]`. */
export class Fail extends Error {
  /**
   * @param {string} reason
   * @param {string} message
   * @param {{retryable?: boolean}} options left out: as the task says
   */
  constructor(reason, message, { retryable } = {}) {
    super(message);
    this.reason = reason;
    this.retryable = retryable;
  }
}

/**
 * What a handler is given beside its input.
 * @typedef {object} Context
 * @property {string} taskId
 * @property {number} attempt counts from 1
 * @property {string} idempotencyKey the same for every attempt of this work
 * @property {Record<string, string>} labels of the task
 * @property {string} traceparent
 * @property {object | null} lastProgress what the attempt before reported last
 * @property {Map<string, unknown>} context what a step of a collaboration is given besides its input
 * @property {AbortSignal} signal aborted when the work is no longer wanted; `signal.reason.reason` says why
 * @property {number} remainingMs until the attempt times out, as of its start
 * @property {(fraction: number, message?: string) => void} progress
 * @property {(chunk: string | Uint8Array) => boolean} emit a piece of output for watchers, at most 64 KiB
 */

export class Agent {
  #handlers = new Map();
  #aborts = new Map(); // By lease, of the handlers that run.
  #options;
  #target;
  #session;
  #stream = null;
  #isWritable = false;
  #heartbeat = null;
  #moveUntilMs = null;
  #backoff = new Backoff();
  #leaving = null;
  #hasLeft = false;
  #waiters = new Set();

  /**
   * @param {string} name shared by the replicas of one deployment
   * @param {{agentId?: string, slots?: number, labels?: Record<string, string>, namespace?: string,
   *   capabilities?: string[], drainMs?: number, log?: (message: string) => void,
   *   address?: string, token?: string, tls?: boolean, tlsCa?: string}} options `agentId` is unique within the
   *   namespace; `capabilities` are those besides the types with a handler; `drainMs` is what running work gets
   *   to end
   */
  constructor(name, options = {}) {
    this.#options = { slots: 1, labels: {}, namespace: "", capabilities: [], drainMs: 25_000, ...options };
    this.#options.log ??= (message) => console.error(message);
    this.#target = targetOf(options);
    this.name = name;
    this.agentId = options.agentId ?? `${name}-${randomUUID().slice(0, 8)}`;
  }

  /** Do tasks of a type with a function. @param {string} type
   * @param {(input: any, context: Context) => any} handler */
  on(type, handler) {
    this.#handlers.set(type, handler);
    return this;
  }

  /** Serve until the agent is stopped or drained. Rejects with Refused if the server will not have it at all. */
  async run() {
    const { slots, labels, namespace, capabilities } = this.#options;
    this.#session = new Session({
      agentId: this.agentId,
      name: this.name,
      namespace,
      capabilities: [...new Set([...this.#handlers.keys(), ...capabilities])],
      slots,
      labels,
      sdkVersion: "upbeat-node-example/1",
    });
    const client = new contract.AgentService(this.#target.address, this.#target.credentials, CHANNEL_OPTIONS);
    const stop = () => (this.#leaving ? this.leaveNow() : this.leave("stopped"));
    process.on("SIGTERM", stop).on("SIGINT", stop);
    try {
      await this.#stayConnected(client);
    } finally {
      process.off("SIGTERM", stop).off("SIGINT", stop);
      const reason = this.#session.phase === "fenced" ? "LEASE_LOST" : "AGENT_LEFT";
      for (const leaseId of this.#aborts.keys()) this.#abort(leaseId, reason);
      client.close();
    }
  }

  /** Take nothing new, finish what runs within `drainMs`, say goodbye. A second signal does not wait. */
  leave(reason) {
    this.#leaving ??= this.#leave(reason);
  }

  /** Do not wait for what runs: it is given back. */
  leaveNow() {
    this.#hasLeft = true;
    this.#session.leave("stopped");
    for (const leaseId of this.#aborts.keys()) this.#abort(leaseId, "AGENT_LEFT");
    this.#pump();
    this.#hangUpIn(2 * GOODBYE_MS); // Also when the transport takes nothing, not even goodbye.
    this.#changed();
  }

  async #leave(reason) {
    this.#session.drain();
    this.#pump();
    const deadlineMs = Date.now() + this.#options.drainMs;
    while (!this.#hasLeft && !this.#session.isIdle && Date.now() < deadlineMs) {
      await this.#change(deadlineMs - Date.now());
    }
    if (this.#session.attempts.size) this.#log(`${this.#session.attempts.size} attempts are given back`);
    if (!this.#hasLeft) this.leaveNow();
    this.#log(`left: ${reason}`);
  }

  // The stream.

  async #stayConnected(client) {
    for (;;) {
      const error = await this.#serve(client);
      if (this.#hasLeft) return;
      this.#session.disconnected();
      if (error.reason === "FENCED") this.#session.fenced();
      if (!error.isWorthReopening) throw error;
      const delayMs = this.#backoff.nextMs(error.retryAfterMs);
      this.#log(`stream ended (${error.message}); connecting again in ${Math.round(delayMs)} ms`);
      const untilMs = Date.now() + delayMs;
      while (!this.#hasLeft && Date.now() < untilMs) await this.#change(untilMs - Date.now());
      if (this.#hasLeft) return;
    }
  }

  /** One stream, from hello to its end; answers how it ended. */
  #serve(client) {
    return new Promise((resolve) => {
      const stream = client.Connect(this.#target.metadata);
      const greeting = setTimeout(() => this.#session.phase === "greeting" && stream.cancel(), WELCOME_MS);
      this.#stream = stream;
      this.#isWritable = true;
      this.#moveUntilMs = null;
      this.#session.connected(Date.now());
      stream.on("data", (frame) => {
        for (const effect of this.#session.received(frame)) this.#perform(effect);
        this.#pump();
      });
      stream.on("drain", () => {
        this.#isWritable = true;
        this.#pump();
      });
      stream.on("error", () => {}); // The status says the same.
      stream.on("status", (status) => {
        clearTimeout(greeting);
        clearTimeout(this.#heartbeat);
        this.#stream = null;
        resolve(Refused.ofStatus(status));
      });
      this.#pump();
    });
  }

  /** Send what there is to say, as far as the transport takes it. */
  #pump() {
    const stream = this.#stream;
    if (!stream || stream.writableEnded) return;
    while (this.#isWritable) {
      const frame = this.#session.nextFrame(Date.now());
      if (!frame) break;
      this.#isWritable = stream.write(frame);
    }
    if (this.#session.phase === "left" || this.#isMoved) {
      stream.end();
      this.#hangUpIn(GOODBYE_MS);
    } else if (this.#isWritable) {
      this.#armHeartbeat();
    }
  }

  /** Do not wait for ever for the server to do its half. */
  #hangUpIn(ms) {
    const stream = this.#stream;
    if (stream) setTimeout(() => stream.cancel(), ms).unref();
  }

  #armHeartbeat() {
    clearTimeout(this.#heartbeat);
    const { phase, lastSentMs, heartbeatMs } = this.#session;
    const dueMs = Math.min(
      phase === "open" ? lastSentMs + heartbeatMs : Infinity,
      this.#moveUntilMs ?? Infinity,
    );
    if (dueMs !== Infinity) this.#heartbeat = setTimeout(() => this.#pump(), Math.max(1, dueMs - Date.now()));
  }

  /** Whether a leaving server has all that it can get from us now. */
  get #isMoved() {
    return this.#moveUntilMs !== null && (!this.#session.results.size || Date.now() >= this.#moveUntilMs);
  }

  #perform(effect) {
    if (effect.kind === "opened") {
      this.#backoff.reset();
      this.#log(`connected as ${this.agentId}${effect.isResumed ? " again" : ""}`);
    } else if (effect.kind === "start") {
      this.#start(effect.assignment);
    } else if (effect.kind === "stop") {
      this.#abort(effect.leaseId, effect.reason);
    } else if (effect.kind === "settled") {
      if (effect.outcome !== "OUTCOME_ACCEPTED") {
        this.#log(
          `result of lease ${effect.leaseId}: ${effect.outcome} ${effect.error?.message ?? ""}`.trim(),
        );
      }
      this.#changed();
    } else if (effect.kind === "serverDrains") {
      this.#log("the server is leaving: going elsewhere, keeping the work");
      this.#moveUntilMs = Date.now() + MOVING_MS;
    } else if (effect.kind === "agentDrained") {
      this.leave("drained by an operator");
    } else {
      this.#log(`the server refused part of a frame: ${effect.reason}: ${effect.message}`);
    }
  }

  // Attempts.

  #start(assignment) {
    const { leaseId } = assignment;
    const abort = new AbortController();
    this.#aborts.set(leaseId, abort);
    this.#resultOf(assignment, abort.signal).then((result) => {
      this.#aborts.delete(leaseId);
      this.#session.finish(leaseId, result);
      this.#pump();
      this.#changed();
    });
  }

  /** Whatever the handler does, exactly one result comes of it. */
  async #resultOf(assignment, signal) {
    try {
      const handler = this.#handlers.get(assignment.type);
      return { output: encode(await handler(inputOf(assignment), this.#contextOf(assignment, signal))) };
    } catch (error) {
      return { error: errorOf(error, signal) };
    }
  }

  #contextOf(assignment, signal) {
    const { leaseId, taskId, attempt, idempotencyKey, labels, traceparent, lastProgress } = assignment;
    const said = { fraction: 0 };
    return {
      taskId,
      attempt,
      idempotencyKey,
      labels,
      traceparent,
      lastProgress,
      context: new Map(assignment.context.map(({ name, payload }) => [name, decode(payload)])),
      signal,
      remainingMs: milliseconds(assignment.timeRemaining),
      progress: (fraction, message = "") => {
        said.fraction = Math.min(Math.max(fraction, 0), 1);
        this.#session.say(leaseId, said.fraction, cut(message, MESSAGE_BYTES_MAX));
        this.#pump();
      },
      emit: (chunk) => {
        const isKept = this.#session.emit(leaseId, Buffer.from(chunk));
        this.#pump();
        return isKept;
      },
    };
  }

  #abort(leaseId, reason) {
    this.#aborts.get(leaseId)?.abort(new Fail(reason, "no longer wanted"));
  }

  /** Wait until an attempt ends, a result is settled or the agent is to leave; at most so long. */
  #change(ms) {
    return new Promise((resolve) => {
      const done = () => {
        clearTimeout(timer);
        this.#waiters.delete(done);
        resolve();
      };
      const timer = setTimeout(done, ms);
      this.#waiters.add(done);
    });
  }

  #changed() {
    for (const done of [...this.#waiters]) done();
  }

  #log(message) {
    this.#options.log(message);
  }
}

function inputOf(assignment) {
  try {
    return decode(assignment.input);
  } catch (error) {
    throw new Fail("INVALID_INPUT", error.message, { retryable: false });
  }
}

/** What a handler threw, as the contract has it. After an abort the reason is that of the abort. */
function errorOf(thrown, signal) {
  const error = signal.aborted ? signal.reason : thrown;
  if (error instanceof Fail) {
    const nonRetryable = error.retryable === undefined ? {} : { nonRetryable: !error.retryable };
    return { reason: error.reason, message: cut(error.message, 4_096), ...nonRetryable };
  }
  return {
    reason: "HANDLER_FAILED",
    message: cut(`${error?.name ?? "Error"}: ${error?.message ?? error}`, 4_096),
  };
}

/** The text, at most this long in UTF-8. */
function cut(text, bytesMax) {
  const bytes = Buffer.from(text);
  return bytes.length <= bytesMax
    ? text
    : bytes
        .subarray(0, bytesMax)
        .toString()
        .replace(/\uFFFD$/u, "");
}
