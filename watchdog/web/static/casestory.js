// The story of a case: notices with whom they showed, what operators did, merges, flap damping; newest first.

import { badge, el, foreign } from "/static/dom.js";
import { unfolding } from "/static/folding.js";
import { both } from "/static/times.js";

const LATEST = 12; // lines that are shown at once

/** The story as a list; null where nothing has happened. */
export function story(found) {
  const notices = found.notices.map((one) => ({ time: one.time, kind: one.reason, node: notice(one) }));
  const lines = found.story.map((one) => ({ time: one.time, kind: one.what, node: line(one) }));
  const all = [...notices, ...lines].sort((one, other) => other.time - one.time);
  if (found.continues) all.push({ time: found.opened, kind: "continues", node: before(found.continues) });
  if (!all.length) return null;
  const beyond = found.notices_beyond + found.story_beyond;
  const gap = beyond ? el("p", { class: "quiet" }, `${beyond} more lines in between were not stored`) : null;
  const rows = all.map(({ time, kind, node }) =>
    el("li", { "data-reason": kind }, el("div", { class: "when" }, both(time)), el("div", {}, node)),
  );
  return [...unfolding(`${found.id} story`, "ol", { class: "timeline" }, rows, LATEST, "lines"), gap];
}

function notice({ reason, severity, parties }) {
  const shown = parties.flatMap((name, place) => [place ? ", " : null, foreign(name)]);
  return [
    el("strong", {}, `Notice: ${reason}`),
    " ",
    badge("severity", severity),
    " ",
    parties.length ? ["shown: ", ...shown] : el("span", { class: "quiet" }, "no one was shown"),
  ];
}

function line({ what, who, text }) {
  const by = who === null ? null : [" by ", foreign(who)];
  return [el("strong", {}, WORDS[what] ?? what), by, text ? [": ", foreign(text)] : null];
}

const WORDS = {
  acknowledged: "Acknowledged",
  cleared: "Acknowledgement cleared",
  resolved: "Resolved",
  note: "Note",
  split: "Party split off",
  merged: "Merged",
  flapping: "Flap damping",
};

function before(id) {
  return [el("strong", {}, "Continues"), " ", caseLink(id), ", an earlier case."];
}

/** A link to a case by its id. */
export function caseLink(id) {
  return el("a", { href: `/cases/${id}`, "data-route": true }, el("code", {}, id));
}
