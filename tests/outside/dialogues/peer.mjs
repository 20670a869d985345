// What every dialogue needs: the contract on @grpc/grpc-js alone, streams to talk on, statuses to read.
import { createRequire } from "node:module";
import { join } from "node:path";

const { NODE_PREFIX, PROTOS, GOOGLE_PROTOS, SERVER } = process.env;
const require = createRequire(join(NODE_PREFIX, "package.json"));
const grpc = require("@grpc/grpc-js");
const loader = require("@grpc/proto-loader");
const protobuf = require("protobufjs");

const files = ["agent_service", "task_service", "message_service"].map((name) => `upbeat/v1/${name}.proto`);
const options = { includeDirs: [PROTOS], keepCase: true, enums: String, longs: String, defaults: true };
const contract = grpc.loadPackageDefinition(loader.loadSync(files, options)).upbeat.v1;
const credentials = grpc.credentials.createInsecure();

const details = new protobuf.Root();
details.resolvePath = (_from, path) => (path.startsWith("google/rpc/") ? join(GOOGLE_PROTOS, path) : path);
details.loadSync(["google/rpc/status.proto", "google/rpc/error_details.proto"]);

export const agents = new contract.AgentService(SERVER, credentials);
export const tasks = new contract.TaskService(SERVER, credentials);
export const messages = new contract.MessageService(SERVER, credentials);

/** What a status says: code, reason, metadata, fields at fault, whether to try again. */
export function told({ code, details: message, metadata }) {
  const found = { code: grpc.status[code], message };
  for (const bytes of metadata?.get("grpc-status-details-bin") ?? []) {
    for (const { type_url: url, value } of details.lookupType("google.rpc.Status").decode(bytes).details) {
      const detail = details.lookupType(url.split("/").pop()).decode(value);
      if (url.endsWith(".ErrorInfo")) {
        Object.assign(found, { reason: detail.reason, domain: detail.domain, metadata: detail.metadata });
      } else if (url.endsWith(".BadRequest")) {
        found.fields = detail.fieldViolations.map(({ field }) => field);
      } else if (url.endsWith(".RetryInfo")) {
        found.retries = true;
      }
    }
  }
  return found;
}

/** One unary call; rejects with what the status tells. */
export const call = (client, method, request) =>
  new Promise((resolve, reject) =>
    client[method](request, (error, answer) => (error ? reject(told(error)) : resolve(answer))),
  );

/** The refusal of a call that must be refused. */
export const refusal = (client, method, request) =>
  call(client, method, request).then(
    (answer) => Promise.reject(new Error(JSON.stringify(answer))),
    (error) => error,
  );

/** One stream: what is in its frames is waited for, each thing by itself. */
export class Peer {
  #frames = [];
  #wake = () => {};

  constructor(stream) {
    this.stream = stream;
    this.ended = new Promise((resolve) => stream.on("status", (status) => resolve(told(status))));
    stream.on("error", () => {}); // The status says the same.
    stream.on("data", (frame) => {
      this.#frames.push(frame);
      this.#wake();
    });
    this.ended.then(() => this.#wake());
  }

  say(frame) {
    this.stream.write(frame);
    return this;
  }

  /** What `pick` finds in the first frame where it finds anything; it takes that out if it may ask again. */
  async hear(pick) {
    let isOver = false;
    this.ended.then(() => (isOver = true));
    for (;;) {
      for (const frame of this.#frames) {
        const found = pick(frame);
        if (found) return found;
      }
      if (isOver) throw new Error(`the stream ended: ${JSON.stringify(await this.ended)}`);
      await new Promise((resolve) => (this.#wake = resolve));
    }
  }

  /** Go away without a word. */
  cut() {
    this.stream.cancel();
    return this.ended;
  }
}

/** An agent's stream after its welcome, which is in `welcome`. */
export async function connect(hello) {
  const peer = new Peer(agents.Connect()).say({ hello: { slots: 1, ...hello } });
  peer.welcome = await peer.hear((frame) => frame.welcome);
  return peer;
}

/** The next assignment, answered with an ack. */
export async function take(peer) {
  const assignment = await peer.hear((frame) => frame.assignments.shift());
  peer.say({ attempt_acks: [{ lease_id: assignment.lease_id, accepted: true }] });
  return assignment;
}

/** What a result is answered. */
export async function report(peer, result) {
  peer.say({ results: [result] });
  return peer.hear((frame) => {
    const index = frame.result_acks.findIndex(({ lease_id: leaseId }) => leaseId === result.lease_id);
    return index >= 0 && frame.result_acks.splice(index, 1)[0].outcome;
  });
}

export const text = (words) => ({ content_type: "text/plain", data: Buffer.from(words) });

/** Submit a task; answers its id. */
export async function submit(type, spec = {}, requestId = "") {
  const request = { spec: { type, input: text(type), ...spec }, request_id: requestId };
  return (await call(tasks, "SubmitTask", request)).task.task_id;
}

/** A task once it has ended. */
export const ended = async (taskId) =>
  (await call(tasks, "GetTask", { task_id: taskId, wait: { seconds: 30 } })).task;
