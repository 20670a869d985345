// What the keys do, as a dialog.

import { html } from "../vendor/lit-html/lit-html.js";
import { SHORTCUTS } from "./shortcuts.js";

/** @param {import("./dialogs.js").Dialogs} dialogs */
export function showHelp(dialogs) {
  return dialogs.show({
    title: "Keys",
    body: () => html`<dl class="keys">
      ${SHORTCUTS.map(
        ({ keys, means }) => html`<div>
          <dt>${keys.map((key) => html`<kbd>${key}</kbd>`)}</dt>
          <dd>${means}</dd>
        </div>`,
      )}
    </dl>`,
    actions: (close) => html`<button class="button" autofocus @click=${() => close()}>Close</button>`,
  });
}
