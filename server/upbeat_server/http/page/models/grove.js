// A collaboration with its children and theirs, loaded level by level and in bounds.

import { isCollaboration } from "../text/words.js";

const CHILDREN_MAX = 40; // Drawn of each parent; the list has all.
const NODES_MAX = 400;
const CALLS_AT_ONCE = 4;

/** @typedef {import("../parts/tree.js").Branch} Branch */

/**
 * The tree below a task.
 * @param {import("../remote/client.js").Client} client
 * @param {object} task
 * @param {AbortSignal} signal
 * @returns {Promise<Branch>}
 */
export async function grow(client, task, signal) {
  const root = { task, children: [], hidden: 0 };
  let level = [root];
  let nodes = 1;
  while (level.length) {
    const parents = level.filter((branch) => isCollaboration(branch.task));
    for (let at = 0; at < parents.length; at += CALLS_AT_ONCE) {
      await Promise.all(
        parents.slice(at, at + CALLS_AT_ONCE).map((branch) => addChildren(client, branch, signal)),
      );
    }
    level = parents.flatMap((branch) => branch.children);
    nodes += level.length;
    if (nodes > NODES_MAX) break;
  }
  return root;
}

async function addChildren(client, branch, signal) {
  const query = {
    filter: `parent = "${branch.task.taskId}"`,
    page_size: CHILDREN_MAX,
    order_by: "create_time",
  };
  const page = await client.get("tasks", query, signal);
  const tasks = (page.tasks ?? []).sort((a, b) => Number(a.ordinal ?? 0) - Number(b.ordinal ?? 0));
  branch.children = tasks.map((task) => ({ task, children: [], hidden: 0 }));
  const counts = branch.task.children ?? {};
  const made = ["live", "completed", "failed", "cancelled"].reduce(
    (sum, key) => sum + Number(counts[key] ?? 0),
    0,
  );
  branch.hidden = page.nextPageToken ? Math.max(made - tasks.length, 1) : 0;
}
