// An agent and a caller in JavaScript, on @grpc/grpc-js alone: hello, welcome,
// submit, assignment, ack, result, result ack, get. Prints one JSON document.
//
//   node agent_and_caller.mjs PROTOS_FOLDER HOST:PORT
import { createRequire } from "node:module";
import { join } from "node:path";

const require = createRequire(join(process.env.NODE_PREFIX, "package.json"));
const grpc = require("@grpc/grpc-js");
const loader = require("@grpc/proto-loader");

const [protos, address] = process.argv.slice(2);
const files = ["agent_service", "task_service"].map((name) => join(protos, "upbeat/v1", `${name}.proto`));
const contract = grpc.loadPackageDefinition(
  loader.loadSync(files, { includeDirs: [protos], keepCase: true, enums: String, longs: String, defaults: true }),
).upbeat.v1;
const credentials = grpc.credentials.createInsecure();
const agents = new contract.AgentService(address, credentials);
const tasks = new contract.TaskService(address, credentials);

const call = (method, request) =>
  new Promise((resolve, reject) =>
    tasks[method](request, (error, answer) => (error ? reject(error) : resolve(answer))),
  );

const seen = { frames: [] };
const stream = agents.Connect();
const acked = new Promise((resolve, reject) => {
  stream.on("error", reject);
  stream.on("data", (frame) => {
    if (frame.welcome) {
      seen.session_id = frame.welcome.session_id;
      seen.frames.push("welcome");
    }
    for (const assignment of frame.assignments) {
      seen.frames.push("assignment");
      seen.assignment = { type: assignment.type, attempt: assignment.attempt, lease_id: assignment.lease_id };
      const text = assignment.input.data.toString();
      stream.write({
        attempt_acks: [{ lease_id: assignment.lease_id, accepted: true }],
        results: [
          {
            lease_id: assignment.lease_id,
            output: { content_type: "text/plain", data: Buffer.from(text.toUpperCase()) },
          },
        ],
      });
    }
    for (const ack of frame.result_acks) {
      seen.frames.push(`result_ack ${ack.outcome}`);
      resolve();
    }
  });
});
stream.write({ hello: { agent_id: "js-1", name: "js", capabilities: ["shout"], slots: 2 } });

const submitted = await call("SubmitTask", {
  spec: { type: "shout", input: { content_type: "text/plain", data: Buffer.from("hello") } },
  request_id: "from-js",
});
await acked;
const got = await call("GetTask", { task_id: submitted.task.task_id, wait: { seconds: 10 } });
seen.state = got.task.state;
seen.output = got.task.output.data.toString();
stream.write({ goodbye: { reason: "done" } });
stream.end();
process.stdout.write(`${JSON.stringify(seen)}\n`);
agents.close();
tasks.close();
