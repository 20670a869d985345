// An agent: `node agent.mjs [HOST:PORT]`. Ctrl-C lets it finish what it does and leave.

import { setTimeout as sleep } from "node:timers/promises";
import { Agent, Fail } from "./upbeat/agent.mjs";

const agent = new Agent("node-writer", { slots: 4, labels: { region: "eu" }, address: process.argv[2] });

// The type of ../skills.py: the callers there and ./caller.mjs do not know in which language it is answered.
agent.on("summarize", async ({ title, text }, { progress, emit, signal }) => {
  const sentences = text
    .split(".")
    .map((sentence) => sentence.trim())
    .filter(Boolean);
  if (!sentences.length) throw new Fail("EMPTY_TEXT", `'${title}' has no text`, { retryable: false });
  for (const [number, sentence] of sentences.entries()) {
    await sleep(50, undefined, { signal }); // Pretend to think; a cancelled task wakes it with an error.
    emit(`${sentence.split(" ")[0]} ... `);
    progress((number + 1) / sentences.length, `sentence ${number + 1} of ${sentences.length}`);
  }
  const words = text.replaceAll(".", " ").split(/\s+/).filter(Boolean);
  const longest = [...new Set(words)].sort((a, b) => b.length - a.length || (a < b ? -1 : 1));
  return { title, word_count: words.length, longest_words: longest.slice(0, 3) };
});

try {
  await agent.run();
} catch (error) {
  console.error(`the server will not have this agent: ${error.message}`);
  process.exitCode = 1;
}
