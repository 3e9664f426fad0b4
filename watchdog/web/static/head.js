// The head of the page: how many incidents are open, and whether the service sees enough for that to mean anything.

import { el } from "/static/dom.js";
import { lasted } from "/static/times.js";

const SEVERITIES = ["critical", "high", "warning", "info"];
const LATE_S = 120;
const LIVE = { whole: "live", part: "live, but not all sources", none: "not watching", ended: "sources have ended" };

/** How many incidents wait for somebody; green only while the service sees something. */
export function posture({ open, acknowledged }, sight) {
  const counts = SEVERITIES.filter((severity) => open[severity]).map((severity) =>
    el("span", { class: "count", "data-value": severity }, el("b", {}, String(open[severity])), ` ${severity}`),
  );
  const looked = Object.values(acknowledged).reduce((sum, count) => sum + count, 0);
  const blind = { none: "not watching", ended: "nothing open, all sources have ended" }[sight];
  const calm = el("span", { class: "count", "data-value": sight === "whole" ? "calm" : sight }, blind ?? "nothing open");
  const rest = looked ? [el("span", { class: "count quiet" }, el("b", {}, String(looked)), " acknowledged")] : [];
  const first = sight === "none" && counts.length ? [calm] : [];
  return [...first, ...(counts.length ? [el("span", { class: "quiet" }, "open"), ...counts] : [calm]), ...rest];
}

/** Whether the service sees anything: none when no source works, ended when there is nothing left to read. */
export function sightOf({ sources = [] }) {
  const failing = sources.filter((source) => source.state === "failing").length;
  const open = sources.filter((source) => source.state === "open").length;
  if (failing) return open ? "part" : "none";
  return sources.length && !open ? "ended" : "whole";
}

/** Why fewer incidents than there should be may be shown: sources that fail, events that come late. */
export function trouble({ sources = [], lag_s: lag = null }) {
  const failing = sources.filter((source) => source.state === "failing");
  const words = failing.map((source) => `source ${source.name} fails: ${source.error}`);
  return lag !== null && lag > LATE_S ? [...words, `events are ${lasted(lag)} behind`] : words;
}

/** What the mark of the connection says; stream: live, waiting, paused or connecting. */
export function connectionText(stream, sight) {
  const words = { live: LIVE[sight], waiting: "not connected, trying again", paused: "paused while hidden" };
  return words[stream] ?? "connecting";
}
