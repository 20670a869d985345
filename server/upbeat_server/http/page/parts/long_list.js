// A list of any length of which only what is in sight is in the document.

import { html } from "../vendor/lit-html/lit-html.js";
import { ref } from "../vendor/lit-html/directives/ref.js";
import { repeat } from "../vendor/lit-html/directives/repeat.js";

const SPARE_ROWS = 6;

export class LongList {
  /**
   * @param {object} options
   * @param {number} options.rowPx every row is as high as this
   * @param {string} options.label
   * @param {() => void} options.changed is called when another part comes in sight
   */
  constructor(options) {
    this.#options = options;
  }

  #options;
  #element = null;
  #topPx = 0;
  #heightPx = 600;
  #count = 0;
  #focusAt = -1; // A row that is to have the focus once it is drawn.
  #resize = new ResizeObserver(() => this.#look());
  #mount = ref((element) => this.#attach(element));

  /** First row in sight, and one behind the last. */
  get range() {
    const { rowPx } = this.#options;
    const first = Math.max(0, Math.floor(this.#topPx / rowPx) - SPARE_ROWS);
    return [first, Math.min(this.#count, Math.ceil((this.#topPx + this.#heightPx) / rowPx) + SPARE_ROWS)];
  }

  /**
   * @param {object} what
   * @param {unknown[]} what.items
   * @param {(item: unknown) => string} what.key
   * @param {(item: unknown, index: number) => unknown} what.row
   * @param {unknown} what.head
   */
  render({ items, key, row, head }) {
    this.#count = items.length;
    const { rowPx, label } = this.#options;
    const [first, last] = this.range;
    const shown = items.slice(first, last).map((item, at) => ({ item, index: first + at }));
    return html`<div class="long-list" role="table" aria-label=${label} aria-rowcount=${items.length + 1}
      @scroll=${() => this.#look()} ${this.#mount}>
      <div class="long-head" role="rowgroup">${head}</div>
      <div class="long-body" role="rowgroup" .style=${`height:${items.length * rowPx}px`}>
        <div class="long-shown" .style=${`transform:translateY(${first * rowPx}px)`}>
          ${repeat(
            shown,
            ({ item }) => key(item),
            ({ item, index }) => row(item, index),
          )}
        </div>
      </div>
    </div>`;
  }

  /** Move the focus by some rows, to what is not drawn yet as well; true if there are rows. */
  move(step) {
    if (!this.#count) return false;
    const at =
      Number(document.activeElement?.closest?.("[aria-rowindex]")?.getAttribute("aria-rowindex") ?? 0) - 2;
    const isIn = this.#element?.contains(document.activeElement) && at >= 0;
    const first = Math.ceil(this.#topPx / this.#options.rowPx);
    this.#focusAt = isIn ? Math.min(Math.max(at + step, 0), this.#count - 1) : first;
    this.#reveal(this.#focusAt);
    this.#options.changed();
    return true;
  }

  /** After drawing: give the focus to the row that was asked for. */
  drawn() {
    if (this.#focusAt < 0) return;
    const row = this.#element?.querySelector(`[aria-rowindex="${this.#focusAt + 2}"] [data-row]`);
    if (row) row.focus({ preventScroll: true });
    this.#focusAt = -1;
  }

  #reveal(index) {
    const { rowPx } = this.#options;
    const room = this.#heightPx - 2 * rowPx; // The head stays on top.
    const top = index * rowPx;
    if (top < this.#topPx) this.#element.scrollTop = top;
    else if (top > this.#topPx + room) this.#element.scrollTop = top - room;
    this.#topPx = this.#element.scrollTop;
  }

  #attach(element) {
    this.#resize.disconnect();
    this.#element = element ?? null;
    if (!element) return;
    this.#resize.observe(element);
    element.scrollTop = this.#topPx;
  }

  #look() {
    const { scrollTop, clientHeight } = this.#element;
    if (scrollTop === this.#topPx && clientHeight === this.#heightPx) return;
    this.#topPx = scrollTop;
    this.#heightPx = clientHeight;
    this.#options.changed();
  }
}
