// What is recorded of a case: its incidents, and the decisions on its notices.

import { badge, el, foreign } from "/static/dom.js";
import { folded } from "/static/folding.js";
import { exact } from "/static/times.js";

const INCIDENTS = 12; // that are shown at once
const DECISIONS = 20;
const COLUMNS = ["When", "Change", "Receiver", "Result", "Why"];

/** Its incidents by the time of their first claim; of those whose claims are not listed, the id only. */
export function incidents(found, titles) {
  const known = new Map();
  for (const claim of found.claims) {
    const one = known.get(claim.incident);
    if (!one) known.set(claim.incident, { ...claim, parties: new Set([claim.party]) });
    else {
      one.parties.add(claim.party);
      one.first = Math.min(one.first, claim.first);
      one.last = Math.max(one.last, claim.last);
    }
  }
  const rows = found.incidents.map((id) => incident(id, known.get(id), titles));
  const columns = ["Incident", "Severity", "What", "First", "Last"];
  return rows.length ? folded(`${found.id} incidents`, "Incidents", columns, rows, INCIDENTS, "incidents") : null;
}

function incident(id, one, titles) {
  const attributes = { href: `/incidents/${id}`, "data-route": true, "data-keep": `incident ${id}` };
  const link = el("a", attributes, el("code", {}, id));
  if (!one) return [link, "", "", "", ""];
  const names = [...one.parties].filter(Boolean);
  const whom = names.length === 1 ? names[0] : names.length ? `${names.length} netblocks` : "";
  const title = foreign(titles.get(one.rule) ?? one.rule);
  const quiet = [whom, one.silenced].filter(Boolean).map((text) => foreign(text, { class: "quiet" }));
  const what = el("span", { class: "rule" }, title, quiet);
  return [link, badge("severity", one.severity), what, exact(one.first), exact(one.last)];
}

/** What each receiver got, or why it got nothing: by receiver, then by time. */
export function notices({ decisions }) {
  if (!decisions.length) return el("p", { class: "quiet" }, "No receiver is about cases, so nothing was sent.");
  const ordered = [...decisions].sort((one, other) => byName(one.receiver, other.receiver) || other.time - one.time);
  return folded("decisions", "Notices to receivers", COLUMNS, ordered.map(decision), DECISIONS, "decisions");
}

function byName(one, other) {
  return one < other ? -1 : one > other ? 1 : 0;
}

function decision(one) {
  const held = one.decision === "held";
  const place = one.place ? ` (${one.place})` : "";
  const error = one.error ? foreign(one.error) : "";
  const sent = one.settled === null ? null : [" ", exact(one.settled)];
  return [
    exact(one.time),
    one.type.replace("case.", ""),
    foreign(one.receiver),
    held ? "held back" : el("span", {}, badge("delivery", one.status ?? "sent"), sent),
    held ? el("span", {}, one.reason, ": ", foreign(`${one.detail}${place}`)) : error,
  ];
}
