// Times as text: relative or UTC. Input is always unix seconds.

import { el } from "/static/dom.js";

const UNITS = [
  ["d", 86400],
  ["h", 3600],
  ["min", 60],
];

/** `2026-01-31 12:00:00 UTC`, with milliseconds when asked for. */
export function utc(seconds, { fine = false } = {}) {
  const moment = new Date(seconds * 1000);
  if (Number.isNaN(moment.getTime())) return "an unknown time";
  return `${moment.toISOString().slice(0, fine ? 23 : 19).replace("T", " ")} UTC`;
}

/** `3 min ago`, `in 2 h`. */
export function relative(seconds, now = Date.now() / 1000) {
  const distance = now - seconds;
  const span = lasted(Math.abs(distance));
  if (Math.abs(distance) < 5) return "now";
  return distance > 0 ? `${span} ago` : `in ${span}`;
}

/** `45 s`, `3 min`, `2 h`, `5 d`: the largest unit only. */
export function lasted(seconds) {
  const [unit, size] = UNITS.find(([, size]) => seconds >= size) ?? ["s", 1];
  return `${Math.floor(seconds / size)} ${unit}`;
}

/** A `time` element with the relative time; `refresh` updates it. */
export function ago(seconds) {
  const node = el("time", { datetime: iso(seconds), title: utc(seconds), "data-seconds": seconds });
  node.textContent = relative(seconds);
  return node;
}

/** A `time` element in UTC. */
export function exact(seconds, options) {
  return el("time", { datetime: iso(seconds), title: relative(seconds) }, utc(seconds, options));
}

/** Both, as in the head of an incident. */
export function both(seconds) {
  return el("span", { class: "both" }, exact(seconds), el("span", { class: "quiet" }, " (", ago(seconds), ")"));
}

/** Update all `ago` elements to the current time. */
export function refresh(root = document) {
  const now = Date.now() / 1000;
  for (const node of root.querySelectorAll("time[data-seconds]")) {
    const text = relative(Number(node.dataset.seconds), now);
    if (node.textContent !== text) node.textContent = text;
  }
}

function iso(seconds) {
  const moment = new Date(seconds * 1000);
  return Number.isNaN(moment.getTime()) ? null : moment.toISOString();
}
