// Whether somebody looks: what runs by itself rests while the tab is hidden.

/** @returns {boolean} */
export function isWatched() {
  return document.visibilityState !== "hidden";
}

/**
 * Resolves when the tab is visible; at once if it is.
 * @param {AbortSignal} signal
 */
export function watched(signal) {
  return until(document, "visibilitychange", isWatched, signal);
}

/** Resolves when the tab is hidden. */
export function unwatched(signal) {
  return until(document, "visibilitychange", () => !isWatched(), signal);
}

/** Resolves after some milliseconds. */
export function after(delayMs, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, delayMs);
    signal.addEventListener("abort", () => (clearTimeout(timer), reject(signal.reason)), { once: true });
  });
}

function until(target, event, holds, signal) {
  return new Promise((resolve, reject) => {
    const own = new AbortController();
    const look = () => {
      if (!holds()) return;
      own.abort();
      resolve();
    };
    target.addEventListener(event, look, { signal: own.signal });
    signal.addEventListener("abort", () => (own.abort(), reject(signal.reason)), { signal: own.signal });
    look();
  });
}
