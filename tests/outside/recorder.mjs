// An agent on the example's `upbeat/`, whose handlers wait for a SIGUSR2 and write down, line by line, what
// befalls them: `node recorder.mjs EXAMPLE HOST:PORT AGENT_ID SLOTS`.
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const [example, address, agentId, slots] = process.argv.slice(2);
const { Agent } = await import(pathToFileURL(join(example, "upbeat/agent.mjs")).href);
const say = (fact) => process.stdout.write(`${JSON.stringify(fact)}\n`);

const gate = new Promise((open) => process.on("SIGUSR2", open));
const agent = new Agent("recorder", {
  agentId,
  slots: Number(slots),
  address,
  log: (line) => say({ log: line }),
});
agent.on("hold", async (number, { signal, progress, attempt }) => {
  say({ began: number, attempt });
  progress(0.5, "held");
  await Promise.race([gate, new Promise((resolve) => signal.addEventListener("abort", resolve))]);
  if (signal.aborted) {
    say({ aborted: number, reason: signal.reason.reason });
    signal.throwIfAborted();
  }
  return 2 * number;
});
await agent.run().then(
  () => say({ over: "left" }),
  (error) => {
    say({ over: error.reason });
    process.exitCode = 1;
  },
);
