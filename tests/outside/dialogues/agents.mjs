// AgentService.Connect, as an agent in any language lives it.
import { agents, call, connect, ended, Peer, refusal, report, submit, take, tasks, text } from "./peer.mjs";

/** Hello, welcome, assignment, ack, progress, result, ack. */
export async function work() {
  const agent = await connect({
    agent_id: "js-work",
    name: "js",
    capabilities: ["js.work"],
    labels: { a: "b" },
  });
  const taskId = await submit("js.work", { labels: { team: "a" }, traceparent: "00-1-2-01" }, "js-work");
  const watch = new Peer(tasks.WatchTasks({ task_id: taskId, progress: true }));
  await watch.hear((frame) => frame.snapshot_done);
  const assignment = await take(agent);
  const chunk = Buffer.from("piece");
  agent.say({
    progress: [{ lease_id: assignment.lease_id, fraction: 0.5, message: "half", chunk, sequence: 1 }],
  });
  const seen = await watch.hear((frame) => frame.events.find(({ progress }) => progress)?.progress);
  const outcome = await report(agent, { lease_id: assignment.lease_id, output: text("JS.WORK") });
  const task = await ended(taskId);
  agent.say({ goodbye: { reason: "done" } });
  return {
    welcome: { ...agent.welcome, session_id: agent.welcome.session_id.length },
    assignment: {
      ...assignment,
      lease_id: 0,
      task_id: assignment.task_id === taskId,
      input: String(assignment.input.data),
    },
    progress: {
      fraction: seen.fraction,
      message: seen.message,
      chunk: String(seen.chunk),
      sequence: seen.sequence,
    },
    outcome,
    state: task.state,
    output: String(task.output.data),
    end: (await agent.ended).code,
  };
}

/** A heartbeat may change the slots: none, and nothing comes; some, and it does. */
export async function heartbeat() {
  const agent = await connect({ agent_id: "js-beat", capabilities: ["js.beat"] });
  agent.say({ heartbeat: { load: 0.5, slots: 0 } });
  // Frames of one stream are handled in order: what answers this one says that the heartbeat counts.
  const unknown = await report(agent, { lease_id: "0".repeat(19) + "1", output: text("") });
  const taskId = await submit("js.beat");
  const before = (await call(tasks, "GetTask", { task_id: taskId })).task.state;
  agent.say({ heartbeat: { slots: 1 } });
  const { lease_id: leaseId } = await take(agent);
  const error = { reason: "NOT_TODAY", message: "no", non_retryable: true, details: { day: "1" } };
  const outcome = await report(agent, { lease_id: leaseId, error, usage: { input_tokens: 3 } });
  const task = await ended(taskId);
  agent.cut();
  return { unknown, before, outcome, state: task.state, error: task.error, usage: task.usage };
}

/** A refused assignment goes elsewhere; a bad item of a frame ends nothing. */
export async function refuse() {
  const first = await connect({ agent_id: "js-refuse", capabilities: ["js.refuse"] });
  const taskId = await submit("js.refuse");
  const { lease_id: leaseId } = await first.hear((frame) => frame.assignments.shift());
  const second = await connect({ agent_id: "js-take", capabilities: ["js.refuse"] });
  first.say({
    attempt_acks: [{ lease_id: leaseId, accepted: false, reason: "not me" }],
    progress: [{ lease_id: "x" }],
  });
  const error = await first.hear((frame) => frame.error);
  const again = await take(second);
  await report(second, { lease_id: again.lease_id, output: text("") });
  const { attempt_count: attempts, state } = await ended(taskId);
  await Promise.all([first.cut(), second.cut()]);
  return {
    reason: error.reason,
    fields: error.violations.map(({ field }) => field),
    attempt: again.attempt,
    attempts,
    state,
  };
}

/** A cancelled task is told to its agent, whose answer frees the slot and changes nothing. */
export async function cancel() {
  const agent = await connect({ agent_id: "js-cancel", capabilities: ["js.cancel"] });
  const taskId = await submit("js.cancel");
  const { lease_id: leaseId } = await take(agent);
  await call(tasks, "CancelTask", { task_id: taskId, message: "changed my mind" });
  const told = await agent.hear((frame) => frame.cancels.shift());
  const next = await submit("js.cancel"); // There is no slot for it before the answer.
  const outcome = await report(agent, { lease_id: leaseId, output: text("too late") });
  const second = await take(agent);
  await report(agent, { lease_id: second.lease_id, output: text("") });
  const finished = await refusal(tasks, "CancelTask", { task_id: next });
  agent.cut();
  const state = (await ended(taskId)).state;
  return { isSame: told.lease_id === leaseId, reason: told.reason, outcome, state, finished };
}

/** A stream that broke is resumed: leases are kept, results repeated, what is not ours is dropped. */
export async function reconnect() {
  const hello = { agent_id: "js-again", capabilities: ["js.again"], slots: 3 };
  const before = await connect(hello);
  const ids = [await submit("js.again"), await submit("js.again"), await submit("js.again")];
  const leases = [];
  for (const _ of ids) leases.push((await take(before)).lease_id);
  // The first result arrives, and its acknowledgement is lost with the stream.
  await report(before, { lease_id: leases[0], output: text("1") });
  await before.cut();
  const unknown = "7".repeat(20);
  // The third is not held: it comes again, as another attempt.
  const held = [leases[0], leases[1], unknown];
  const after = await connect({ ...hello, session_id: before.welcome.session_id, held_leases: held });
  const outcomes = [
    await report(after, { lease_id: leases[0], output: text("1") }),
    await report(after, { lease_id: leases[1], output: text("2") }),
    await report(after, { lease_id: unknown, output: text("?") }),
  ];
  const again = await take(after);
  outcomes.push(await report(after, { lease_id: again.lease_id, output: text("3") }));
  const done = await Promise.all(ids.map(ended));
  after.cut();
  return {
    isResumed: after.welcome.resumed,
    dropped: after.welcome.dropped_leases.map((leaseId) => held.indexOf(leaseId)),
    outcomes,
    attempts: done.map((task) => task.attempt_count),
    outputs: done.map((task) => String(task.output.data)),
  };
}

/** A newer process with the same id takes over; the older one is told so, and refused if it comes back. */
export async function fenced() {
  const hello = { agent_id: "js-fenced", capabilities: ["js.fenced"] };
  const older = await connect(hello);
  const newer = await connect(hello);
  const end = await older.ended;
  const late = new Peer(agents.Connect()).say({
    hello: { slots: 1, ...hello, session_id: older.welcome.session_id },
  });
  const refused = await late.ended;
  newer.cut();
  return { end, refused };
}

/** An operator drains an agent: it is told, finishes what it has, and gets nothing new. */
export async function drained() {
  const agent = await connect({ agent_id: "js-drained", capabilities: ["js.drained"], slots: 2 });
  const taskId = await submit("js.drained");
  const { lease_id: leaseId } = await take(agent);
  await call(agents, "DrainAgent", { agent_id: "js-drained" });
  const { reason } = await agent.hear((frame) => frame.drain);
  const waiting = await submit("js.drained");
  const outcome = await report(agent, { lease_id: leaseId, output: text("") });
  agent.say({ goodbye: { reason: "drained" } });
  const end = (await agent.ended).code;
  const { state } = (await call(tasks, "GetTask", { task_id: waiting })).task;
  const first = (await ended(taskId)).state;
  return {
    reason,
    outcome,
    end,
    waiting: state,
    first,
    agent: (await call(agents, "GetAgent", { agent_id: "js-drained" })).agent.state,
  };
}

/** What ends a stream before it began. */
export async function badHellos() {
  const endOf = (frame) => new Peer(agents.Connect()).say(frame).ended;
  const hello = { agent_id: "js-bad", capabilities: ["js.bad"], slots: 1 };
  const twice = await connect(hello);
  return {
    none: await endOf({ heartbeat: {} }),
    bad: await endOf({ hello: { agent_id: "no spaces", slots: 0, held_leases: ["x"] } }),
    twice: await twice.say({ hello }).ended,
  };
}
