// j and k over the rows of a page: the focus itself moves, so Enter, Tab and screen readers follow.

/**
 * Focus the next (1) or previous (-1) row; true if there was one. A row is marked by `data-row`.
 * @param {number} step
 */
export function moveFocus(step) {
  const rows = [...document.querySelectorAll("main [data-row]")];
  if (!rows.length) return false;
  const at = rows.indexOf(document.activeElement);
  const next = at < 0 ? (step > 0 ? 0 : rows.length - 1) : Math.min(Math.max(at + step, 0), rows.length - 1);
  rows[next].focus({ preventScroll: true });
  rows[next].scrollIntoView({ block: "nearest" });
  return true;
}
