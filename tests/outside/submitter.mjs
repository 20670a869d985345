// A caller on the example's `upbeat/`: `node submitter.mjs EXAMPLE HOST:PORT COUNT` submits numbers and prints
// what they were answered with.
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const [example, address, count] = process.argv.slice(2);
const { Caller } = await import(pathToFileURL(join(example, "upbeat/caller.mjs")).href);
const caller = new Caller({ address });
const numbers = Array.from({ length: Number(count) }, (_, number) => number);
const answers = await Promise.all(
  numbers.map((number) => caller.run("hold", number, { requestId: `hold-${number}` })),
);
process.stdout.write(`${JSON.stringify({ answers })}\n`);
caller.close();
