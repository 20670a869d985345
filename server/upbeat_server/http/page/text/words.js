// The words of the contract as people read them: states, priorities, kinds.

export const TASK_STATES = ["PENDING", "QUEUED", "RUNNING", "COMPLETED", "FAILED", "CANCELLED"];
export const AGENT_STATES = ["CONNECTED", "SUSPECT", "DRAINING", "DISCONNECTED"];
export const PRIORITIES = ["CRITICAL", "HIGH", "NORMAL", "LOW"];

const FINAL = new Set(["COMPLETED", "FAILED", "CANCELLED"]);

/** The short name of an enum value: `QUEUED` of `STATE_QUEUED`. */
export function shortName(value, prefix) {
  return (value ?? "").replace(prefix, "") || "UNSPECIFIED";
}

export function taskState(task) {
  return shortName(task.state, "STATE_");
}

export function agentState(agent) {
  return shortName(agent.state, "STATE_");
}

export function priorityOf(task) {
  const name = shortName(task.spec?.priority, "PRIORITY_");
  return name === "UNSPECIFIED" ? "NORMAL" : name;
}

export function isFinal(task) {
  return FINAL.has(taskState(task));
}

/** `Timed out` of `OUTCOME_TIMED_OUT`. */
export function sentenceCase(word) {
  const text = word.toLowerCase().replaceAll("_", " ");
  return text.charAt(0).toUpperCase() + text.slice(1);
}

const MODES = ["sequential", "parallel", "pipeline", "consensus", "competitive", "custom"];

/** The mode of a collaboration, a custom one by its name; empty for plain work. */
export function modeOf(spec) {
  const group = spec?.collaboration;
  if (!group) return "";
  const mode = MODES.find((name) => group[name] !== undefined) ?? "collaboration";
  return mode === "custom" ? group.custom.name : mode;
}

/** What a task is: its type, or its mode. */
export function kindOf(task) {
  return task.spec?.type || modeOf(task.spec) || "task";
}

export function isCollaboration(task) {
  return Boolean(task.children || task.spec?.collaboration);
}
