// Why it is one case: the links between its claims in words, and what was not joined though a name was shared.

import { el, foreign } from "/static/dom.js";
import { caseLink } from "/static/casestory.js";
import { unfolding } from "/static/folding.js";
import { exact } from "/static/times.js";

const REASONS = 8; // that are shown at once
const CLAIMS = 8; // of one reason

/** The sentence of the messages, the reasons of its links, and what stayed apart. */
export function why(found, titles) {
  const sentence = found.advice?.why;
  const reasons = byReason(found);
  const single = !reasons.length ? el("p", { class: "quiet" }, lone(found)) : null;
  const rows = reasons.map((one) => reason(one, titles));
  return [
    sentence ? el("p", {}, foreign(sentence)) : single,
    rows.length ? unfolding(`${found.id} why`, "ol", { class: "reasons" }, rows, REASONS, "reasons") : null,
    found.split_off.length ? splits(found.split_off) : null,
  ].flat();
}

/** Links that were not made, each with its reason; null without any. */
export function apart(found) {
  if (!found.not_joined.length) return null;
  const rows = found.not_joined.map((one) =>
    el("li", {}, el("div", { class: "when" }, exact(one.time)), "Not joined with ", other(one.case), ": ", foreign(one.why)),
  );
  return unfolding(`${found.id} apart`, "ol", { class: "reasons" }, rows, REASONS, "links");
}

function other(id) {
  return id ? caseLink(id) : "a case that is no longer in memory";
}

function lone({ claims }) {
  return claims.length > 1 ? "No link between its claims is stored." : "It has a single claim, so nothing was joined.";
}

/** Links with the same reason are one line: {why, time, claims}, in the order in which they were made. */
function byReason({ claims, links }) {
  const known = new Map(claims.map((one) => [one.number, one]));
  const found = new Map();
  for (const link of links) {
    const one = found.get(link.why) ?? { why: link.why, time: link.time, claims: new Map() };
    one.time = Math.min(one.time, link.time);
    for (const number of [link.other, link.claim]) if (known.has(number)) one.claims.set(number, known.get(number));
    found.set(link.why, one);
  }
  return [...found.values()].sort((one, other) => one.time - other.time);
}

function reason({ why: text, time, claims }, titles) {
  const joined = [...claims.values()].sort((one, other) => one.first - other.first);
  const shown = joined.slice(0, CLAIMS).map((one) => el("li", {}, foreign(claimText(one, titles))));
  const more = joined.length - shown.length;
  return el(
    "li",
    {},
    el("div", { class: "when" }, exact(time)),
    el("div", {}, foreign(of(joined.length, text)), ":"),
    el("ul", { class: "joined" }, shown, more ? el("li", { class: "quiet" }, `and ${more} more`) : null),
  );
}

/** The reason of a link, which is about two claims, for as many as there are. */
function of(count, text) {
  return count > 2 ? text.replace(/^both /, "all ") : text;
}

/** A claim in words: what a rule saw, and of whom. */
export function claimText({ rule, party, role }, titles) {
  const whom = party ? `, by ${party}` : role === "witness" ? " (evidence)" : "";
  return `${titles.get(rule) ?? rule}${whom}`;
}

function splits(parties) {
  const shown = parties.flatMap((name, place) => [place ? ", " : null, foreign(name)]);
  return el("p", { class: "quiet" }, "Split off by an operator: ", shown);
}
