// One modal dialog at a time, on the browser's own <dialog>: it keeps the focus and closes with Esc.

import { html } from "../vendor/lit-html/lit-html.js";
import { keyed } from "../vendor/lit-html/directives/keyed.js";
import { ref } from "../vendor/lit-html/directives/ref.js";

/** @typedef {{ title: string, body: () => unknown, actions: (close: (value?: unknown) => void) => unknown }} Content */

export class Dialogs {
  /** @param {() => void} changed */
  constructor(changed) {
    this.#changed = changed;
  }

  #changed;
  #open = null;

  /**
   * Show a dialog; resolves with what it is closed with, undefined when it is dismissed.
   * @param {Content} content
   */
  show(content) {
    this.#open?.resolve();
    return new Promise((resolve) => {
      this.#open = { content, resolve };
      this.#changed();
    });
  }

  /**
   * Ask before doing something; resolves with whether it was confirmed.
   * @param {{ title: string, text: unknown, action: string, isDanger?: boolean }} question
   */
  async confirm({ title, text, action, isDanger = false }) {
    const answer = await this.show({
      title,
      body: () => html`<p>${text}</p>`,
      actions: (close) => html`
        <button class="button" @click=${() => close()}>Back</button>
        <button class="button ${isDanger ? "button-danger" : "button-primary"}" autofocus
          @click=${() => close(true)}>${action}</button>`,
    });
    return answer === true;
  }

  render() {
    if (!this.#open) return "";
    const { content } = this.#open;
    const close = (value) => this.#close(value);
    return keyed(
      this.#open,
      html`<dialog class="dialog" aria-labelledby="dialog-title" ${ref(showModal)}
        @close=${() => close()} @click=${(event) => event.target === event.currentTarget && close()}>
        <div class="dialog-body">
          <h2 id="dialog-title">${content.title}</h2>
          ${content.body()}
          <div class="dialog-actions">${content.actions(close)}</div>
        </div>
      </dialog>`,
    );
  }

  #close(value) {
    const open = this.#open;
    if (!open) return;
    this.#open = null;
    open.resolve(value);
    this.#changed();
  }
}

function showModal(element) {
  // Not attached yet while lit renders: a modal has to be.
  if (element) queueMicrotask(() => element.isConnected && !element.open && element.showModal());
}
