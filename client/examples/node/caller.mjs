// A caller: `node caller.mjs [HOST:PORT]`, with an agent.mjs (or ../agent.py) running.

import { Caller, TaskFailed } from "./upbeat/caller.mjs";

const caller = new Caller({ address: process.argv[2] });
const text = "Agents take tasks. Results come back. Nothing is lost.";
try {
  const summary = await caller.run(
    "summarize",
    { title: "one", text },
    { spec: { priority: "PRIORITY_HIGH" } },
  );
  console.log(`${summary.title}: ${summary.word_count} words, such as ${summary.longest_words.join(", ")}`);

  await caller.run("summarize", { title: "empty", text: "" }).catch((error) => {
    if (!(error instanceof TaskFailed)) throw error;
    console.log(`as expected: ${error.message}`);
  });

  const many = Array.from({ length: 20 }, (_, number) =>
    caller.run("summarize", { title: `note ${number}`, text }),
  );
  const words = (await Promise.all(many)).reduce((sum, { word_count: count }) => sum + count, 0);
  console.log(`${many.length} documents, ${words} words`);
} catch (error) {
  console.error(error.message);
  process.exitCode = 1;
} finally {
  caller.close();
}
