// The agent's side of AgentService.Connect, without I/O and without a clock: frames go in, frames and effects
// come out. What must not break (protos/README.md says why):
//
// - hello is the first frame of a stream, and nothing else goes before welcome;
// - a lease runs once: a repeated assignment is acknowledged again, not started;
// - a result is kept, and sent on every new stream, until it is acknowledged;
// - what an attempt said goes out in order and before its result;
// - after FENCED nothing is sent, for good.

import { milliseconds } from "./wire.mjs";

const ITEMS_MAX = 256; // Of one kind in a frame.
const FRAME_BYTES_MAX = 2 << 20; // And never more than the welcome allows.
const CHUNK_BYTES_MAX = 64 << 10;
const CHUNKS_MAX = 256; // Of one lease that wait.
const HELD_MAX = 20_000; // The contract's bound on held_leases.
const REPORTED_MAX = 4_096; // Leases remembered after their end, so that a late repeat is not run again.

/**
 * @typedef {{kind: "opened", isResumed: boolean} | {kind: "start", assignment: object}
 *   | {kind: "stop", leaseId: string, reason: string, graceMs?: number}
 *   | {kind: "settled", leaseId: string, outcome: string, error: object | null}
 *   | {kind: "serverDrains"} | {kind: "agentDrained"}
 *   | {kind: "frameRefused", reason: string, message: string}} Effect
 */

export class Session {
  /** "offline", "greeting", "open", "left" or "fenced". */
  phase = "offline";
  isDraining = false;
  /** Leases whose handlers run here. */
  attempts = new Map();
  /** Results that were not acknowledged, by lease. */
  results = new Map();
  heartbeatMs = 10_000;
  lastSentMs = 0;
  #sessionId = "";
  #frameBytesMax = FRAME_BYTES_MAX;
  #outputBytesMax = 0;
  #isHelloDue = false;
  #isDrainDue = false;
  #goodbye = null;
  #acks = [];
  #said = new Map(); // Of a lease: progress and chunks that wait.
  #unsent = new Set(); // Results not sent on this stream.
  #reported = new Set();
  #slotsTold;

  /** @param {{agentId: string, name: string, namespace: string, capabilities: string[], slots: number,
   *   labels: Record<string, string>, sdkVersion: string}} identity */
  constructor(identity) {
    this.identity = identity;
    this.#slotsTold = identity.slots;
  }

  /** Nothing runs and every result has been acknowledged. */
  get isIdle() {
    return this.attempts.size === 0 && this.results.size === 0;
  }

  // What the driver tells.

  connected(nowMs) {
    this.phase = "greeting";
    this.#isHelloDue = true;
    this.#isDrainDue = this.isDraining;
    this.#acks = []; // They belonged to the old stream: hello says what is held.
    this.#unsent = new Set(this.results.keys());
    this.#slotsTold = this.identity.slots;
    this.lastSentMs = nowMs;
  }

  disconnected() {
    this.phase = "offline";
  }

  fenced() {
    this.phase = "fenced";
    this.results.clear();
    for (const attempt of this.attempts.values()) attempt.isDropped = true;
  }

  drain() {
    if (this.isDraining) return;
    this.isDraining = this.#isDrainDue = true;
  }

  /** Say goodbye, behind the results that are there; what still runs is given back. */
  leave(reason) {
    this.#goodbye = reason;
    for (const leaseId of this.attempts.keys()) this.#drop(leaseId);
  }

  /** How an attempt gets on; only the latest is sent. */
  say(leaseId, fraction, message) {
    if (this.#isHeard(leaseId)) Object.assign(this.#saidOf(leaseId), { fraction, message, isFresh: true });
  }

  /** A piece of output for whoever watches. False if one, this or the oldest that waits, will not be sent. */
  emit(leaseId, data) {
    if (data.length > CHUNK_BYTES_MAX) throw new RangeError(`a chunk has at most ${CHUNK_BYTES_MAX} bytes`);
    if (!this.#isHeard(leaseId)) return false;
    const said = this.#saidOf(leaseId);
    said.chunks.push({ sequence: ++said.sequence, data });
    if (said.chunks.length <= CHUNKS_MAX) return true;
    said.chunks.shift();
    return false;
  }

  /** The handler has ended with `{output}` or `{error}`; for a lease that was taken away that is no news. */
  finish(leaseId, result) {
    const attempt = this.attempts.get(leaseId);
    if (!attempt) return;
    this.attempts.delete(leaseId);
    if (attempt.isDropped) this.#remember(leaseId);
    else this.#keep(leaseId, { leaseId, ...result });
  }

  // What the server tells.

  /** @returns {Effect[]} */
  received(frame) {
    if (this.phase !== "greeting" && this.phase !== "open") return [];
    /** @type {Effect[]} */
    const effects = [];
    if (frame.welcome) this.#welcome(frame.welcome, effects);
    for (const assignment of frame.assignments) this.#assign(assignment, effects);
    for (const cancel of frame.cancels) this.#cancel(cancel, effects);
    for (const ack of frame.resultAcks) this.#settle(ack, effects);
    if (frame.drain)
      effects.push({ kind: frame.drain.reason === "AGENT_DRAINED" ? "agentDrained" : "serverDrains" });
    if (frame.error) {
      const fields = frame.error.violations
        .map(({ field, description }) => `${field}: ${description}`)
        .join(", ");
      const message = `${frame.error.message} ${fields}`.trim();
      effects.push({ kind: "frameRefused", reason: frame.error.reason, message });
    }
    return effects;
  }

  #welcome(welcome, effects) {
    this.phase = "open";
    this.#sessionId = welcome.sessionId;
    if (welcome.heartbeatInterval) this.heartbeatMs = milliseconds(welcome.heartbeatInterval);
    this.#frameBytesMax = Math.min(FRAME_BYTES_MAX, welcome.frameBytesMax || FRAME_BYTES_MAX);
    this.#outputBytesMax = welcome.outputBytesMax;
    effects.push({ kind: "opened", isResumed: welcome.resumed });
    for (const leaseId of welcome.droppedLeases) {
      this.#forget(leaseId);
      if (this.#isHeard(leaseId)) {
        this.#drop(leaseId);
        effects.push({ kind: "stop", leaseId, reason: "LEASE_LOST" });
      }
    }
  }

  #assign(assignment, effects) {
    const { leaseId } = assignment;
    const reason = this.#refusalOf(assignment);
    this.#acks.push({ leaseId, accepted: !reason, reason });
    if (reason || this.attempts.has(leaseId) || this.results.has(leaseId)) return;
    this.attempts.set(leaseId, { isDropped: false, isStopping: false });
    effects.push({ kind: "start", assignment });
  }

  #refusalOf({ leaseId, type }) {
    if (this.#isHeard(leaseId) || this.results.has(leaseId)) return ""; // A repeat: it is here.
    if (this.attempts.has(leaseId) || this.#reported.has(leaseId)) return "ALREADY_REPORTED";
    if (!this.identity.capabilities.includes(type)) return "NO_HANDLER";
    if (this.isDraining || this.#goodbye !== null) return "DRAINING";
    // By handlers that go on although their lease is lost.
    return this.attempts.size >= this.identity.slots ? "SLOTS_TAKEN" : "";
  }

  #cancel({ leaseId, reason, grace }, effects) {
    const attempt = this.attempts.get(leaseId);
    if (!attempt) {
      // The server waits for an answer to free the slot, and there is nothing of it here.
      const error = { reason: reason || "CANCELLED", message: "not running here" };
      if (!this.results.has(leaseId)) this.#keep(leaseId, { leaseId, error });
    } else if (!attempt.isStopping && !attempt.isDropped) {
      attempt.isStopping = true;
      const graceMs = grace ? milliseconds(grace) : undefined;
      effects.push({ kind: "stop", leaseId, reason: reason || "CANCELLED", graceMs });
    }
  }

  #settle({ leaseId, outcome, error }, effects) {
    if (this.#forget(leaseId)) effects.push({ kind: "settled", leaseId, outcome, error });
  }

  // What goes out.

  /** The next frame to send, or null. Once asked for, it counts as sent. */
  nextFrame(nowMs) {
    let frame = null;
    if (this.phase === "greeting" && this.#isHelloDue) {
      this.#isHelloDue = false;
      const held = [...this.attempts].filter(([, attempt]) => !attempt.isDropped).map(([leaseId]) => leaseId);
      const heldLeases = [...held, ...this.results.keys()].slice(0, HELD_MAX);
      frame = { hello: { ...this.identity, sessionId: this.#sessionId, heldLeases } };
    } else if (this.phase === "open") {
      frame = this.#filled();
      const isEmpty = Object.keys(frame).length === 0;
      if (isEmpty && nowMs - this.lastSentMs >= this.heartbeatMs) frame.heartbeat = { load: this.#load };
      else if (isEmpty) frame = null;
    }
    if (frame) this.lastSentMs = nowMs;
    return frame;
  }

  /** @returns {any} */
  #filled() {
    /** @type {any} */
    const frame = {};
    const slots =
      this.identity.slots - [...this.attempts.values()].filter(({ isDropped }) => isDropped).length;
    if (slots !== this.#slotsTold && this.#goodbye === null) {
      this.#slotsTold = slots;
      frame.heartbeat = { load: this.#load, slots };
    }
    if (this.#acks.length) frame.attemptAcks = this.#acks.splice(0, ITEMS_MAX);
    const size = this.#moveSaid(frame);
    this.#moveResults(frame, size);
    if (this.#isDrainDue) {
      this.#isDrainDue = false;
      frame.drain = {};
    }
    if (this.#goodbye !== null && !this.#unsent.size && !this.#acks.length) {
      frame.goodbye = { reason: this.#goodbye };
      this.phase = "left";
    }
    return frame;
  }

  #moveSaid(frame) {
    let size = 0;
    for (const [leaseId, said] of this.#said) {
      while (said.isFresh || said.chunks.length) {
        if ((frame.progress?.length ?? 0) >= ITEMS_MAX || size > this.#frameBytesMax / 2) return size;
        const { sequence, data } = said.chunks.shift() ?? { sequence: 0, data: Buffer.alloc(0) };
        const { fraction, message } = said;
        (frame.progress ??= []).push({ leaseId, fraction, message, chunk: data, sequence });
        said.isFresh = false;
        size += data.length + Buffer.byteLength(message) + 64;
      }
    }
    return size;
  }

  #moveResults(frame, sizeBefore) {
    let size = sizeBefore;
    for (const leaseId of this.#unsent) {
      const said = this.#said.get(leaseId);
      if (said && (said.isFresh || said.chunks.length)) continue;
      const result = this.#sendable(leaseId);
      size += (result.output?.data.length ?? 0) + 512;
      const isFull = (frame.results?.length ?? 0) >= ITEMS_MAX || size > this.#frameBytesMax;
      if (isFull && (frame.results || frame.progress)) return;
      (frame.results ??= []).push(result);
      this.#unsent.delete(leaseId);
    }
  }

  /** The result, or an error in its place if the server would not take the output. */
  #sendable(leaseId) {
    const result = this.results.get(leaseId);
    const bytes = result.output?.data.length ?? 0;
    if (!this.#outputBytesMax || bytes <= this.#outputBytesMax) return result;
    const limit = this.#outputBytesMax;
    const message = `the output has ${bytes} bytes; the limit is ${limit}: return a reference to it`;
    const refused = { leaseId, error: { reason: "OUTPUT_TOO_LARGE", message, nonRetryable: true } };
    this.results.set(leaseId, refused);
    return refused;
  }

  get #load() {
    return this.attempts.size / this.identity.slots;
  }

  /** Whether a lease runs here and is still ours. */
  #isHeard(leaseId) {
    const attempt = this.attempts.get(leaseId);
    return attempt !== undefined && !attempt.isDropped;
  }

  #saidOf(leaseId) {
    let said = this.#said.get(leaseId);
    if (!said)
      this.#said.set(leaseId, (said = { sequence: 0, fraction: 0, message: "", isFresh: false, chunks: [] }));
    return said;
  }

  #drop(leaseId) {
    this.attempts.get(leaseId).isDropped = true;
    this.#said.delete(leaseId);
  }

  #keep(leaseId, result) {
    this.results.set(leaseId, result);
    this.#unsent.add(leaseId);
  }

  #forget(leaseId) {
    if (!this.results.delete(leaseId)) return false;
    this.#unsent.delete(leaseId);
    this.#remember(leaseId);
    return true;
  }

  #remember(leaseId) {
    this.#said.delete(leaseId);
    this.#reported.add(leaseId);
    if (this.#reported.size > REPORTED_MAX) this.#reported.delete(this.#reported.values().next().value);
  }
}
