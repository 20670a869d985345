// TaskService and MessageService, as a caller in any language uses them.
import { call, connect, messages, Peer, refusal, report, submit, take, tasks, text } from "./peer.mjs";

const request = (requestId, type, spec = {}) => ({
  request_id: requestId,
  spec: { type, input: text(requestId), ...spec },
});
const sorted = (entries) => Object.fromEntries(Object.entries(entries).sort());

/** Statuses carry reason, fields and metadata as google.rpc details. */
export async function errors() {
  const spec = { type: "js.errors" };
  await submit("js.errors", { input: text("a") }, "js-errors");
  return {
    fields: await refusal(tasks, "SubmitTask", { spec: { type: "no type", priority: 77, size_hint: -1 } }),
    unknown: await refusal(tasks, "GetTask", { task_id: "0".repeat(15) + "1" }),
    reused: await refusal(tasks, "SubmitTask", {
      spec: { ...spec, input: text("b") },
      request_id: "js-errors",
    }),
    selector: await refusal(tasks, "SubmitTask", { spec: { ...spec, selector: "labels.a ==" } }),
  };
}

/** StreamTasks: window, acceptances, refusals, ends that repeat until acknowledged, an attach elsewhere. */
export async function stream() {
  const agent = await connect({ agent_id: "js-stream", capabilities: ["js.stream"], slots: 8 });
  const first = new Peer(tasks.StreamTasks()).say({
    requests: [request("s1", "js.stream"), request("s2", "js.stream")],
  });
  const window = await first.hear((frame) => frame.window);
  const accepted = {};
  const refused = {};
  const finished = {};
  const listen = async (peer, isDone) => {
    while (!isDone()) {
      await peer.hear((frame) => {
        for (const answer of frame.accepted.splice(0)) accepted[answer.request_id] = answer.task_id;
        for (const answer of frame.refused.splice(0)) refused[answer.request_id] = answer.error;
        for (const answer of frame.finished.splice(0))
          finished[answer.request_id] = String(answer.output?.data);
        return isDone();
      });
    }
  };
  await listen(first, () => accepted.s1 && accepted.s2);
  first.say({ requests: [request("s3", "js.stream"), request("", "js.stream"), request("bad", "no type")] });
  await listen(first, () => accepted.s3 && "bad" in refused && "" in refused);
  first.say({ requests: [request("s4", "js.stream"), request("s5", "js.stream")] }); // The window is 4.
  await listen(first, () => accepted.s4 && refused.s5);
  const beyond = { reason: refused.s5.reason, retries: Boolean(refused.s5.retry_delay) };
  for (let count = 0; count < 4; count++) {
    const { lease_id: leaseId, input } = await take(agent);
    await report(agent, { lease_id: leaseId, output: text(String(input.data).toUpperCase()) });
  }
  await listen(first, () => Object.keys(finished).length === 4);
  first.say({ finished_acks: ["s1", "s2", "s3", "s4"], requests: [request("s5", "js.stream")] });
  await listen(first, () => accepted.s5);
  const { lease_id: leaseId } = await take(agent);
  await first.cut();
  await report(agent, { lease_id: leaseId, output: text("S5") });

  const onFirst = sorted(finished);
  for (const key of Object.keys(finished)) delete finished[key];
  const second = new Peer(tasks.StreamTasks()).say({ attach: ["s5", "s1", "never"] });
  await listen(second, () => finished.s5 && finished.s1 && refused.never);
  second.say({ finished_acks: ["s5", "s1"], requests: [request("s5", "js.stream")] });
  const repeated = accepted.s5;
  delete accepted.s5;
  await listen(second, () => accepted.s5);
  second.stream.end();
  agent.cut();
  return {
    window,
    refused: {
      none: refused[""].reason,
      bad: refused.bad.violations.map(({ field }) => field),
      never: refused.never.reason,
    },
    beyond,
    onFirst,
    onSecond: sorted(finished),
    isSame: repeated === accepted.s5,
    end: (await second.ended).code,
  };
}

/** Subscribe: a message that was not acknowledged comes again on a new stream, one that was does not. */
export async function bus() {
  const subscribes = [{ topic: "js.news", subscriber: "js" }];
  const first = new Peer(messages.Subscribe()).say({ subscribes });
  const subscribed = await first.hear((frame) => frame.subscribe_acks.shift());
  const publish = (words, id) =>
    call(messages, "Publish", {
      topic: "js.news",
      payload: text(words),
      message_id: id,
      publisher: "js-caller",
      headers: { a: "b" },
    });
  const published = await publish("one", "m1");
  const repeated = await publish("one", "m1");
  await publish("two", "m2");
  const heard = [];
  while (heard.length < 2) heard.push(await first.hear((frame) => frame.deliveries.shift()));
  first.say({ delivery_acks: [{ delivery_id: heard[0].delivery_id }] });
  // Answered in order: when this subscription is, the acknowledgement counts.
  first.say({ subscribes: [{ topic: "js.other", subscriber: "js" }] });
  await first.hear((frame) => frame.subscribe_acks.find(({ topic }) => topic === "js.other"));
  await first.cut();
  const second = new Peer(messages.Subscribe()).say({ subscribes });
  const again = await second.hear((frame) => frame.deliveries.shift());
  second.say({ delivery_acks: [{ delivery_id: again.delivery_id }] });
  second.stream.end();
  const nobody = await refusal(messages, "Publish", { topic: "js.news", payload: text("x"), to: "nobody" });
  return {
    subscribed: { subscriber: subscribed.subscriber, isRefused: Boolean(subscribed.refusal) },
    published: { isDurable: published.durable, isSame: published.sequence === repeated.sequence },
    heard: heard.map(({ payload, redelivered, publisher, headers }) => ({
      text: String(payload.data),
      redelivered,
      publisher,
      headers,
    })),
    again: {
      text: String(again.payload.data),
      redelivered: again.redelivered,
      attempt: again.delivery_attempt,
    },
    end: (await second.ended).code,
    nobody: { code: nobody.code, reason: nobody.reason },
  };
}
