// Numbers, times and sizes as people read them; what protobuf JSON writes (int64 and durations are strings).

export const NOTHING = "–";

const MINUTE_S = 60;
const HOUR_S = 3_600;
const DAY_S = 86_400;

const whole = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });
const short = new Intl.NumberFormat("en-US", { notation: "compact", maximumSignificantDigits: 3 });

/** A number, however it is written; 0 when it is absent. */
export function number(value) {
  return Number(value ?? 0);
}

/** `1,234,567` */
export function count(value) {
  return whole.format(number(value));
}

/** `1.23M` */
export function compact(value) {
  const given = number(value);
  return Math.abs(given) < 10_000 ? whole.format(given) : short.format(given);
}

/** `0.25`, `8.4`, `1,234`: events per second. */
export function rate(value) {
  const given = number(value);
  if (given < 10) return String(Number(given.toFixed(given < 1 ? 2 : 1)));
  return compact(given);
}

/** `98 %` */
export function percent(share) {
  const hundred = number(share) * 100;
  return `${hundred > 0 && hundred < 10 && hundred % 1 ? hundred.toFixed(1) : Math.round(hundred)} %`;
}

/** Seconds of a protobuf Duration such as `1.500s`; null when it is absent. */
export function seconds(written) {
  return written === undefined || written === null ? null : Number.parseFloat(written);
}

/** Milliseconds since 1970 of a timestamp; null when it is absent. */
export function timeMs(timestamp) {
  return timestamp ? Date.parse(timestamp) : null;
}

/** `340 µs`, `12 ms`, `1.24 s`, `2 m 05 s`, `3 h 12 m`, `2 d 4 h`; a dash for null. */
export function duration(given) {
  if (given === null || given === undefined || Number.isNaN(given)) return NOTHING;
  const s = Math.max(0, given);
  if (s === 0) return "0 s";
  if (s < 0.001) return `${Math.round(s * 1e6)} µs`;
  if (s < 0.01) return `${(s * 1e3).toFixed(1)} ms`;
  if (s < 0.9995) return `${Math.round(s * 1e3)} ms`;
  if (s < 10) return `${s.toFixed(2)} s`;
  if (s < MINUTE_S) return `${s.toFixed(1)} s`;
  if (s < HOUR_S) return `${Math.floor(s / MINUTE_S)} m ${two(s % MINUTE_S)} s`;
  if (s < DAY_S) return `${Math.floor(s / HOUR_S)} h ${two((s % HOUR_S) / MINUTE_S)} m`;
  return `${Math.floor(s / DAY_S)} d ${Math.floor((s % DAY_S) / HOUR_S)} h`;
}

/** How long ago in one unit: `now`, `12 s ago`, `3 h ago`. */
export function ago(ms, nowMs) {
  if (ms === null) return NOTHING;
  const s = (nowMs - ms) / 1_000;
  if (s < 1) return "now";
  if (s < MINUTE_S) return `${Math.floor(s)} s ago`;
  if (s < HOUR_S) return `${Math.floor(s / MINUTE_S)} m ago`;
  if (s < DAY_S) return `${Math.floor(s / HOUR_S)} h ago`;
  return `${Math.floor(s / DAY_S)} d ago`;
}

/** `14:03:07.250` of today, with the date before it on other days. */
export function clock(ms, nowMs = Date.now()) {
  if (ms === null) return NOTHING;
  const at = new Date(ms);
  const time = `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
  const thousandths = String(at.getMilliseconds()).padStart(3, "0");
  const day = `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`;
  return new Date(nowMs).toDateString() === at.toDateString() ? `${time}.${thousandths}` : `${day} ${time}`;
}

/** `1.2 KiB` */
export function bytes(size) {
  if (size < 1_024) return `${size} B`;
  if (size < 1_048_576) return `${(size / 1_024).toFixed(1)} KiB`;
  return `${(size / 1_048_576).toFixed(1)} MiB`;
}

/** `1 task`, `2 tasks` */
export function plural(value, word) {
  return `${count(value)} ${word}${number(value) === 1 ? "" : "s"}`;
}

function two(value) {
  return String(Math.floor(value)).padStart(2, "0");
}
