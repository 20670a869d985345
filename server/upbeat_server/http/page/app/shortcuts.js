// The keyboard: single keys and `g` followed by one, never while somebody types or a dialog is open.

const CHORD_MS = 1_200;

export const SHORTCUTS = [
  { keys: ["j", "k"], means: "next, previous row" },
  { keys: ["Enter"], means: "open the row" },
  { keys: ["/"], means: "filter" },
  { keys: ["["], means: "previous page" },
  { keys: ["]"], means: "next page" },
  { keys: ["Esc"], means: "leave a field, a dialog, a detail" },
  { keys: ["g", "o"], means: "overview" },
  { keys: ["g", "t"], means: "tasks" },
  { keys: ["g", "a"], means: "agents" },
  { keys: ["g", "b"], means: "bus" },
  { keys: ["d"], means: "light, dark, system" },
  { keys: ["?"], means: "this list" },
];

export class Shortcuts {
  /** @param {(name: string) => boolean} act is given a key or chord such as `g t`; true if it meant something */
  constructor(act) {
    this.#act = act;
    addEventListener("keydown", (event) => this.#press(event));
  }

  #act;
  #chordUntil = 0;

  #press(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
    if (document.querySelector("dialog[open]")) return;
    if (isTyping(event.target)) {
      if (event.key === "Escape") event.target.blur();
      return;
    }
    const isChord = performance.now() < this.#chordUntil;
    this.#chordUntil = !isChord && event.key === "g" ? performance.now() + CHORD_MS : 0;
    if (this.#act(isChord ? `g ${event.key}` : event.key)) event.preventDefault();
  }
}

function isTyping(target) {
  return target instanceof HTMLElement && target.matches("input:not([type=checkbox]), textarea, select");
}
