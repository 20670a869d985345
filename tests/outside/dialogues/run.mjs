// Plays every dialogue in turn and prints what each saw, as one JSON document.
//
//   NODE_PREFIX=... PROTOS=... GOOGLE_PROTOS=... SERVER=HOST:PORT node run.mjs
import * as ofAgents from "./agents.mjs";
import * as ofCallers from "./callers.mjs";

const seen = {};
for (const [name, play] of Object.entries({ ...ofAgents, ...ofCallers })) {
  try {
    seen[name] = await play();
  } catch (error) {
    seen[name] = { broke: error instanceof Error ? error.stack : error };
  }
}
process.stdout.write(`${JSON.stringify(seen)}\n`, () => process.exit(0)); // Streams that were cut may linger.
