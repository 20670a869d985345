// A caller: submits over one StreamTasks and gets results, whatever streams and servers break in between.

import { randomUUID } from "node:crypto";
import { decode, encode } from "./payload.mjs";
import { Backoff, CHANNEL_OPTIONS, contract, duration, Refused, targetOf } from "./wire.mjs";

const REQUESTS_MAX = 500; // In a frame; the contract allows 1,000.
const ATTACH_MAX = 10_000; // In a frame.
const FRAME_BYTES_MAX = 2 << 20;

/** A task ended as FAILED or CANCELLED. */
export class TaskFailed extends Error {
  /**
   * @param {{taskId: string, state: string, error: {reason: string, message: string, details: object}}} end
   */
  constructor({ taskId, state, error }) {
    super(`task ${taskId} is ${state}: ${error?.reason}: ${error?.message}`);
    Object.assign(this, { taskId, state, reason: error?.reason ?? "", details: error?.details ?? {} });
  }
}

export class Caller {
  #target;
  #namespace;
  #client;
  #stream = null;
  #isWritable = false;
  #window = 0; // 0 until the server has said it.
  #waiting = new Map(); // Submissions that no stream has carried yet, by request_id.
  #open = new Map(); // Those in the window, by request_id.
  #acks = []; // Of ends that have arrived.
  #backoff = new Backoff();
  #isClosed = false;
  #reopening = null;

  /**
   * @param {{namespace?: string, address?: string, token?: string, tls?: boolean, tlsCa?: string}} options
   */
  constructor(options = {}) {
    this.#target = targetOf(options);
    this.#namespace = options.namespace ?? "";
    this.#client = new contract.TaskService(this.#target.address, this.#target.credentials, CHANNEL_OPTIONS);
  }

  /**
   * Submit a task and wait for its output. Rejects with TaskFailed or Refused.
   * @param {string} type
   * @param {unknown} input bytes, a string, or what JSON can say
   * @param {{requestId?: string, attemptTimeoutMs?: number, spec?: object}} options `requestId` makes it safe
   *   to submit again, after a crash of this process too; `spec` are further fields of TaskSpec
   * @returns {Promise<any>}
   */
  run(type, input, { requestId = String(randomUUID()), attemptTimeoutMs, spec = {} } = {}) {
    /** @type {any} */
    const whole = { type, input: encode(input), ...spec };
    if (attemptTimeoutMs) whole.attemptTimeout = duration(attemptTimeoutMs);
    return this.submit(whole, requestId);
  }

  /**
   * The same with a whole TaskSpec, a collaboration for example.
   * @param {object} spec
   * @param {string} requestId
   * @returns {Promise<any>}
   */
  submit(spec, requestId = String(randomUUID())) {
    if (this.#isClosed) return Promise.reject(new Error("the caller is closed"));
    if (this.#waiting.has(requestId) || this.#open.has(requestId)) {
      return Promise.reject(new Error(`${requestId} is under way already`));
    }
    return new Promise((resolve, reject) => {
      this.#waiting.set(requestId, { request: { spec, requestId }, isAccepted: false, resolve, reject });
      this.#connect();
      this.#pump();
    });
  }

  /** Nothing more is wanted: what is under way goes on at the server, and is rejected here. */
  close() {
    this.#fail(new Error("the caller was closed"));
    this.#stream?.cancel();
    this.#client.close();
  }

  #fail(error) {
    this.#isClosed = true;
    clearTimeout(this.#reopening);
    for (const entry of [...this.#open.values(), ...this.#waiting.values()]) entry.reject(error);
    this.#open.clear();
    this.#waiting.clear();
  }

  // The stream.

  #connect() {
    if (this.#stream || this.#reopening || this.#isClosed) return;
    const stream = this.#client.StreamTasks(this.#target.metadata);
    this.#stream = stream;
    this.#window = 0;
    this.#acks = []; // Ends that were not acknowledged in time come again, once they are attached.
    stream.on("data", (frame) => this.#received(frame));
    stream.on("drain", () => {
      this.#isWritable = true;
      this.#pump();
    });
    stream.on("error", () => {}); // The status says the same.
    stream.on("status", (status) => this.#ended(Refused.ofStatus(status)));
    this.#isWritable = stream.write({ namespace: this.#namespace }); // The window comes in answer.
  }

  #ended(error) {
    this.#stream = null;
    if (this.#isClosed) return;
    if (!error.isWorthReopening) return this.#fail(error);
    this.#reopening = setTimeout(() => {
      this.#reopening = null;
      if (this.#open.size || this.#waiting.size) this.#connect();
    }, this.#backoff.nextMs(error.retryAfterMs));
  }

  #received({ window, accepted, refused, finished }) {
    if (window) this.#opened(window);
    for (const { requestId } of accepted) {
      const entry = this.#open.get(requestId);
      if (entry) entry.isAccepted = true;
    }
    for (const { requestId, error } of refused) this.#refused(requestId, Refused.ofRefusal(error));
    for (const end of finished) this.#finished(end);
    this.#pump();
  }

  /** The first frame: what was accepted on another stream is attached, what may not have been is sent again. */
  #opened(window) {
    const isFirst = this.#window === 0;
    this.#window = window;
    if (!isFirst) return;
    this.#backoff.reset();
    const accepted = [];
    const again = new Map();
    for (const [requestId, entry] of this.#open) {
      if (entry.isAccepted) accepted.push(requestId);
      else again.set(requestId, entry);
    }
    for (const requestId of again.keys()) this.#open.delete(requestId);
    this.#waiting = new Map([...again, ...this.#waiting]);
    for (let first = 0; first < accepted.length; first += ATTACH_MAX) {
      this.#isWritable = this.#stream.write({ attach: accepted.slice(first, first + ATTACH_MAX) });
    }
  }

  #refused(requestId, error) {
    const entry = this.#open.get(requestId);
    if (!entry) return;
    if (error.retryAfterMs === undefined) {
      this.#open.delete(requestId);
      entry.reject(error);
      return;
    }
    // Too much at the moment, or the store is down: its room stays taken, so that nothing else presses in.
    setTimeout(() => {
      if (this.#open.delete(requestId)) this.#waiting.set(requestId, entry);
      this.#pump();
    }, this.#backoff.nextMs(error.retryAfterMs));
  }

  #finished(end) {
    this.#acks.push(end.requestId);
    const entry = this.#open.get(end.requestId);
    if (!entry) return;
    this.#open.delete(end.requestId);
    if (end.state !== "STATE_COMPLETED") entry.reject(new TaskFailed(end));
    else entry.resolve(outputOf(end.output));
  }

  #pump() {
    while (this.#stream && this.#window && this.#isWritable) {
      const frame = {};
      if (this.#acks.length) frame.finishedAcks = this.#acks.splice(0, REQUESTS_MAX);
      const requests = this.#fitting();
      if (requests.length) frame.requests = requests;
      else if (!frame.finishedAcks) return;
      this.#isWritable = this.#stream.write(frame);
    }
  }

  /** The submissions that have room in the window, a frame of them. */
  #fitting() {
    const requests = [];
    let size = 0;
    for (const [requestId, entry] of this.#waiting) {
      size += (entry.request.spec.input?.data?.length ?? 0) + 256;
      const isFull = requests.length >= REQUESTS_MAX || (size > FRAME_BYTES_MAX && requests.length);
      if (isFull || this.#open.size >= this.#window) break;
      this.#waiting.delete(requestId);
      entry.isAccepted = false;
      this.#open.set(requestId, entry);
      requests.push(entry.request);
    }
    return requests;
  }
}

function outputOf(payload) {
  try {
    return decode(payload);
  } catch {
    return Buffer.from(payload.data); // It says that it is JSON and is not: the bytes as they are.
  }
}
