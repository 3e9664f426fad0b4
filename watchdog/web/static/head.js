// The head of the page: the number of open incidents, and whether the sources work well enough to trust it.

import { el } from "/static/dom.js";
import { lasted } from "/static/times.js";

const SEVERITIES = ["critical", "high", "warning", "info"];
const LATE_S = 120;
const LIVE = { whole: "live", part: "live, some sources failing", none: "not monitoring", ended: "sources have ended" };

/** Open and acknowledged incidents by severity; green only while sources can be read. */
export function posture({ open, acknowledged }, sight) {
  const counts = SEVERITIES.filter((severity) => open[severity]).map((severity) =>
    el("span", { class: "count", "data-value": severity }, el("b", {}, String(open[severity])), ` ${severity}`),
  );
  const looked = Object.values(acknowledged).reduce((sum, count) => sum + count, 0);
  const blind = { none: "not monitoring", ended: "no incident open, all sources have ended" }[sight];
  const calm = el("span", { class: "count", "data-value": sight === "whole" ? "calm" : sight }, blind ?? "no incident open");
  const rest = looked ? [el("span", { class: "count quiet" }, el("b", {}, String(looked)), " acknowledged")] : [];
  const first = sight === "none" && counts.length ? [calm] : [];
  return [...first, ...(counts.length ? [el("span", { class: "quiet" }, "open incidents"), ...counts] : [calm]), ...rest];
}

/** How much the service can read: none when no source works, ended when all sources have ended. */
export function sightOf({ sources = [] }) {
  const failing = sources.filter((source) => source.state === "failing").length;
  const open = sources.filter((source) => source.state === "open").length;
  if (failing) return open ? "part" : "none";
  return sources.length && !open ? "ended" : "whole";
}

/** Why incidents may be missing from the page: failing sources, delayed events. */
export function trouble({ sources = [], lag_s: lag = null }) {
  const failing = sources.filter((source) => source.state === "failing");
  const whose = ({ node }) => (node === undefined ? "" : `${node}: `);
  const words = failing.map((source) => `${whose(source)}source ${source.name} fails: ${source.error}`);
  return lag !== null && lag > LATE_S ? [...words, `events are ${lasted(lag)} behind`] : words;
}

/** The text of the connection state. stream: live, waiting, paused or connecting. */
export function connectionText(stream, sight) {
  const words = { live: LIVE[sight], waiting: "not connected, trying again", paused: "paused while hidden" };
  return words[stream] ?? "connecting";
}
