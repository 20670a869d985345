// Light, dark, or what the system says; colours for what is drawn on a canvas.

const KEY = "upbeat.theme";
const NEXT = { system: "light", light: "dark", dark: "system" };

export class Theme {
  /** @param {() => void} changed is called when colours are others than before */
  constructor(changed) {
    this.#changed = changed;
    this.#show();
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", changed);
  }

  #changed;

  /** @returns {"system" | "light" | "dark"} */
  get choice() {
    const kept = localStorage.getItem(KEY);
    return kept in NEXT ? kept : "system";
  }

  toggle() {
    localStorage.setItem(KEY, NEXT[this.choice]);
    this.#show();
    this.#changed();
  }

  #show() {
    document.documentElement.dataset.theme = this.choice;
  }
}

/**
 * What custom properties of the style sheet come to now: a canvas knows nothing of `light-dark()`.
 * @param {string[]} names
 * @param {number} [percent] how much of them there is left when they are mixed with the surface
 * @returns {Record<string, string>}
 */
export function colours(names, percent = 100) {
  const probe = document.createElement("span");
  document.body.append(probe);
  const found = {};
  for (const name of names) {
    probe.style.color =
      percent === 100 ? `var(--${name})` : `color-mix(in srgb, var(--${name}) ${percent}%, var(--surface))`;
    found[name] = getComputedStyle(probe).color;
  }
  probe.remove();
  return found;
}
