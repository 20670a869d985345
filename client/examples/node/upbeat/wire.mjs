// The contract, the channel, and what a server says when it refuses.

import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import grpc from "@grpc/grpc-js";
import loader from "@grpc/proto-loader";
import protobuf from "protobufjs";

const HERE = dirname(fileURLToPath(import.meta.url));
// A copy of protos/ beside package.json, or that of the checkout.
const FOLDERS = [process.env.UPBEAT_PROTOS, join(HERE, "../protos"), join(HERE, "../../../../protos")];

function loadContract() {
  const folder = FOLDERS.find((candidate) => candidate && existsSync(join(candidate, "upbeat/v1")));
  if (!folder)
    throw new Error("the folder protos/ is missing: copy it beside package.json, or set UPBEAT_PROTOS");
  const definition = loader.loadSync(["upbeat/v1/agent_service.proto", "upbeat/v1/task_service.proto"], {
    includeDirs: [folder],
    enums: String,
    longs: Number,
    defaults: true,
    oneofs: true,
  });
  /** @type {any} */
  const loaded = grpc.loadPackageDefinition(definition);
  return loaded.upbeat.v1;
}

/** The services: camelCase fields, enums by name, Duration as `{seconds, nanos}`. */
export const contract = loadContract();

export const CHANNEL_OPTIONS = {
  "grpc.keepalive_time_ms": 20_000,
  "grpc.keepalive_timeout_ms": 10_000,
  "grpc.keepalive_permit_without_calls": 1,
  // The default is two minutes; leases outlive a broken stream by seconds.
  "grpc.initial_reconnect_backoff_ms": 200,
  "grpc.max_reconnect_backoff_ms": 2_000,
  // The default is 4 MiB; a step of a nested collaboration may have more.
  "grpc.max_receive_message_length": 16 << 20,
  "grpc.max_send_message_length": 8 << 20,
  "grpc.enable_retries": 0, // Trying again is ours: it says hello anew, or repeats the request_id.
};

/**
 * Where the server is and who we are. `UPBEAT_SERVER`, `UPBEAT_TOKEN`, `UPBEAT_TLS=1` and `UPBEAT_TLS_CA=FILE`
 * say what is left out.
 * @param {{address?: string, token?: string, tlsCa?: string, tls?: boolean}} options
 */
export function targetOf(options = {}) {
  const env = process.env;
  const token = options.token ?? env.UPBEAT_TOKEN;
  const tlsCa = options.tlsCa ?? env.UPBEAT_TLS_CA;
  const metadata = new grpc.Metadata();
  if (token) metadata.set("authorization", `Bearer ${token}`);
  const isTls = options.tls ?? (Boolean(tlsCa) || ["1", "true", "yes", "on"].includes(env.UPBEAT_TLS ?? ""));
  const credentials = isTls
    ? grpc.credentials.createSsl(tlsCa ? readFileSync(tlsCa) : null)
    : grpc.credentials.createInsecure();
  return { address: options.address ?? env.UPBEAT_SERVER ?? "localhost:50051", credentials, metadata };
}

// google.rpc.Status and the details that the server puts into it, as far as they are needed.
const DETAILS = protobuf.parse(`
  syntax = "proto3";
  package google.rpc;
  message Status { int32 code = 1; string message = 2; repeated Detail details = 3; }
  message Detail { string type_url = 1; bytes value = 2; }
  message ErrorInfo { string reason = 1; string domain = 2; map<string, string> metadata = 3; }
  message BadRequest { repeated Violation field_violations = 1; }
  message Violation { string field = 1; string description = 2; }
  message RetryInfo { Period retry_delay = 1; }
  message Period { int64 seconds = 1; int32 nanos = 2; }
`).root;
const STREAM_AGAIN = [
  "OK",
  "UNAVAILABLE",
  "DEADLINE_EXCEEDED",
  "CANCELLED",
  "INTERNAL",
  "UNKNOWN",
  "ABORTED",
];

/** Why a call or a stream ended, or a submission was refused. */
export class Refused extends Error {
  /**
   * @param {string} code name of a gRPC status
   * @param {string} reason an ErrorReason without its prefix; "" if the server gave none
   * @param {string} message
   * @param {{metadata?: Record<string, string>, fields?: {field: string, description: string}[],
   *   retryAfterMs?: number}} more
   */
  constructor(code, reason, message, { metadata = {}, fields = [], retryAfterMs } = {}) {
    super(`${reason || code}: ${message}`);
    this.name = "Refused";
    this.code = code;
    this.reason = reason;
    this.metadata = metadata;
    this.fields = fields;
    this.retryAfterMs = retryAfterMs;
  }

  /** Whether a stream that ended so may be opened again with a hope of better luck. */
  get isWorthReopening() {
    if (this.reason === "FENCED") return false;
    return this.code === "RESOURCE_EXHAUSTED"
      ? this.retryAfterMs !== undefined
      : STREAM_AGAIN.includes(this.code);
  }

  /** @param {{code: number, details: string, metadata: grpc.Metadata}} status as grpc gives it */
  static ofStatus(status) {
    const code = grpc.status[status.code] ?? "UNKNOWN";
    const found = { reason: "", metadata: {}, fields: [], retryAfterMs: undefined };
    for (const bytes of status.metadata?.get("grpc-status-details-bin") ?? []) {
      for (const { typeUrl, value } of decode("Status", bytes).details) readDetail(typeUrl, value, found);
    }
    return new Refused(code, found.reason, status.details, found);
  }

  /** @param {object} refusal `upbeat.v1.Refusal`, as answers of a stream carry it */
  static ofRefusal(refusal) {
    return new Refused(grpc.status[refusal.code] ?? "UNKNOWN", refusal.reason, refusal.message, {
      metadata: refusal.metadata,
      fields: refusal.violations,
      retryAfterMs: refusal.retryDelay ? milliseconds(refusal.retryDelay) : undefined,
    });
  }
}

function decode(name, bytes) {
  return DETAILS.lookupType(`google.rpc.${name}`).toObject(
    DETAILS.lookupType(`google.rpc.${name}`).decode(bytes),
    { longs: Number, defaults: true },
  );
}

function readDetail(typeUrl, value, found) {
  if (typeUrl.endsWith("/google.rpc.ErrorInfo")) {
    const { reason, metadata } = decode("ErrorInfo", value);
    Object.assign(found, { reason, metadata });
  } else if (typeUrl.endsWith("/google.rpc.BadRequest")) {
    found.fields = decode("BadRequest", value).fieldViolations;
  } else if (typeUrl.endsWith("/google.rpc.RetryInfo")) {
    found.retryAfterMs = milliseconds(decode("RetryInfo", value).retryDelay ?? { seconds: 0, nanos: 0 });
  }
}

/** A Duration in milliseconds. */
export const milliseconds = ({ seconds, nanos }) => seconds * 1_000 + nanos / 1e6;

/** Milliseconds as a Duration. */
export const duration = (ms) => ({ seconds: Math.floor(ms / 1_000), nanos: Math.round((ms % 1_000) * 1e6) });

/** Delays with full jitter, so that a thousand agents that lost one server come back spread out. */
export class Backoff {
  #failures = 0;

  /** The next delay; `atLeastMs` is what the server asked for. */
  nextMs(atLeastMs = 0) {
    const boundMs = Math.min(5_000, 250 * 2 ** Math.min(this.#failures++, 10));
    return atLeastMs + Math.random() * boundMs;
  }

  /** It went right: the next delay is a short one. */
  reset() {
    this.#failures = 0;
  }
}
