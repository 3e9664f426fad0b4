// One case: what it is, its stages, its parties, its story, its incidents, why it is one case, and who was notified.

import { badge, el, foreign, section } from "/static/dom.js";
import { incidents, notices } from "/static/caserecord.js";
import { apart, why } from "/static/casewhy.js";
import { caseLink, story } from "/static/casestory.js";
import { folded } from "/static/folding.js";
import { both, exact } from "/static/times.js";

const STAGES = {
  poisoning: "its address tables are filled",
  slots: "its inbound slots are taken",
  outbound: "its outbound peers are replaced",
  view: "its view of the chain falls behind",
};
const PARTIES = 12; // that are shown at once
const GOSSIPED = 8;

/** The case as elements. decisions: the answer of its path. acts: the element of the form. merged: the id that led to it,
 *  where that is of a case which is part of it now; else null. */
export function caseView(found, decisions, acts, merged = null) {
  const titles = new Map([...(found.advice?.seen ?? []), ...found.claims].map((one) => [one.rule, one.title || one.rule]));
  return [
    el("a", { class: "back", href: "/cases", "data-route": true, "data-part": "back" }, "All cases"),
    merged && el("p", { class: "quiet", "data-part": "moved" }, "Case ", code(merged), " was merged into this one."),
    head(found),
    stages(found),
    facts(found),
    section("What to do", todo(found)),
    acts,
    section("Parties", parties(found)),
    section("What the rules saw", seen(found)),
    section("Story", story(found)),
    section("Incidents", incidents(found, titles)),
    section("Why it is one case", why(found, titles)),
    section("What was not joined", apart(found)),
    section("Notices to receivers", notices(decisions)),
  ].filter(Boolean);
}

function code(id) {
  return el("code", {}, id);
}

function head(found) {
  return el(
    "header",
    { class: "incident-head", "data-part": "head" },
    el("h2", { id: "detail-title" }, foreign(found.headline)),
    el("p", { class: "badges" }, badge("severity", found.severity), badge("state", found.state)),
  );
}

/** The four stages of an eclipse as a strip; of a case without any, one line. */
function stages(found) {
  const times = new Map((found.stages_entered ?? []).map((one) => [one.stage, one.time]));
  if (!found.stages.length) return el("p", { class: "quiet nostage", "data-part": "stages" }, "No stage of an eclipse so far.");
  const strip = Object.entries(STAGES).map(([stage, text]) => {
    const at = times.get(stage) ?? null;
    const entered = found.stages.includes(stage);
    const when = !entered ? "not seen" : at === null ? "in an earlier case" : exact(at);
    return el(
      "li",
      { "data-entered": entered, "aria-label": entered ? `${stage}: entered` : `${stage}: not seen` },
      el("strong", {}, stage),
      el("span", { class: "what" }, text),
      el("span", { class: "at" }, when),
    );
  });
  return el("ol", { class: "strip", "aria-label": "Stages of an eclipse", "data-part": "stages" }, strip);
}

function facts(found) {
  const { pending, related } = found;
  const pairs = [
    ["Opened", both(found.opened)],
    ["Updated", both(found.updated)],
    ["Resolved", found.resolved === null ? null : both(found.resolved)],
    ["Acknowledged", found.acknowledged_by === null ? null : ["by ", foreign(found.acknowledged_by)]],
    ["Node", foreign(found.node === "*" ? "several nodes, or none" : found.node)],
    ["Continues", found.continues ? caseLink(found.continues) : null],
    ["Next notice", pending ? [`${pending.reasons.join(", ")} at `, exact(pending.due)] : null],
    ["Cases of nodes", related?.length ? related.map(({ node, id }) => el("div", {}, foreign(node), " ", caseLink(id))) : null],
    ["Merged into it", found.aliases.length ? aliases(found.aliases) : null],
    ["Id", code(found.id)],
  ];
  const shown = pairs.filter(([, value]) => value !== null);
  return el(
    "dl",
    { class: "facts", "data-part": "facts" },
    shown.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value))),
  );
}

function aliases(ids) {
  const shown = ids.slice(0, 3).flatMap((id, place) => [place ? ", " : null, code(id)]);
  return [...shown, ids.length > 3 ? ` and ${ids.length - 3} more` : null];
}

function todo({ advice, state }) {
  if (!advice || state === "resolved") return null;
  const steps = advice.do.map((text) => el("p", {}, prose(text)));
  return [...steps, advice.runbook ? el("p", {}, "Runbook: ", runbook(advice.runbook)) : null];
}

/** A link, where it is an address of the web. */
function runbook(url) {
  return /^https?:\/\//.test(url) ? el("a", { href: url, rel: "noreferrer" }, foreign(url)) : foreign(url);
}

/** Text in which commands have backticks. */
function prose(text) {
  return text.split("`").map((one, place) => (place % 2 ? el("code", {}, foreign(one)) : foreign(one)));
}

/** Those that fire now come first, as in the API's order otherwise. */
function parties(found) {
  const ordered = [...found.parties.filter((one) => one.firing), ...found.parties.filter((one) => !one.firing)];
  const beyond = found.parties_beyond ? el("p", { class: "quiet" }, `${found.parties_beyond} more are not listed`) : null;
  const named = found.announced.slice(0, GOSSIPED).join(", ");
  const more = found.announced.length > GOSSIPED ? ` and ${found.announced.length - GOSSIPED} more` : "";
  const told = named ? el("p", { class: "quiet" }, "Named by gossip, which accuses no one: ", foreign(named), more) : null;
  const none = "It accuses no one: it is about the node itself, or no party is known.";
  if (!ordered.length) return [el("p", { class: "quiet" }, none), told];
  const columns = ["Party", "Now", "First", "Last", "Rules"];
  const rows = ordered.map((one) => [
    el("span", { class: "party" }, foreign(one.name), addresses(one)),
    el("span", { class: "badge firing", "data-value": one.firing ? "high" : "" }, one.firing ? "fires" : "quiet"),
    exact(one.first),
    exact(one.last),
    el("span", { class: "words" }, one.rules.map((rule) => el("code", {}, rule))),
  ]);
  return [...folded(`${found.id} parties`, "Parties", columns, rows, PARTIES, "parties"), beyond, told];
}

function addresses({ name, addresses: known }) {
  if (known.length < 2) return null;
  const count = el("summary", {}, `${known.length} addresses`);
  return el("details", { "data-keep": `addresses ${name}` }, count, foreign(known.join(", ")));
}

function seen({ advice }) {
  if (!advice?.seen.length) return null;
  const rows = advice.seen.map((one) =>
    el(
      "li",
      {},
      el("div", { class: "when" }, exact(one.time), " ", badge("severity", one.severity)),
      el("div", {}, foreign(one.text || one.title)),
    ),
  );
  const more = `${advice.seen_beyond} more rules: see the incidents below`;
  return [el("ol", { class: "notes" }, rows), advice.seen_beyond ? el("p", { class: "quiet" }, more) : null];
}
