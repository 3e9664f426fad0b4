// One incident: summary, timeline, entities, members, evidence, operators' notes and deliveries.

import { badge, el, foreign, maturityBadge, section, table } from "/static/dom.js";
import { deliveries, operatorNotes, recordings } from "/static/notes.js";
import { both, exact, lasted } from "/static/times.js";

const SMALL = new Set(["updated", "member joined", "member cleared"]);
const LATEST = 3; // small steps that are always shown
const unfolded = new Set(); // ids of incidents whose small steps are shown

/** The incident as elements. eventTime: the latest event time that the service has reached, null while unknown. */
export function incidentView(incident, eventTime) {
  return [
    el("a", { class: "back", href: "/", "data-route": true }, "All incidents"),
    head(incident),
    el("p", { class: "summary" }, foreign(incident.summary)),
    facts(incident, eventTime),
    warmUp(incident),
    completeness(incident),
    section("Timeline", timeline(incident)),
    section("Measures", measures(incident)),
    section("Entities", entities(incident)),
    section("Members", members(incident)),
    section("Recordings", recordings(incident)),
    section("Evidence", evidence(incident)),
    section("Operator notes", operatorNotes(incident)),
    section("Deliveries", deliveries(incident)),
  ].filter(Boolean);
}

function head(incident) {
  const maturity = maturityBadge(incident.maturity);
  return el(
    "header",
    { class: "incident-head" },
    el("h2", { id: "detail-title" }, foreign(incident.title || incident.rule)),
    el("p", { class: "badges" }, badge("severity", incident.severity), badge("state", incident.state), maturity),
  );
}

/** How long the condition lasted, or has lasted by the service's event time. An operator's action does not end it. */
export function span({ opened, cleared, resolved }, eventTime) {
  const end = cleared ?? resolved ?? eventTime;
  if (end === null) return "still active";
  const text = lasted(Math.max(end - opened, 0));
  return cleared === null && resolved === null ? `${text} so far` : text;
}

function facts(incident, eventTime) {
  const by = incident.acknowledged_by;
  const pairs = [
    ["Opened", both(incident.opened)],
    ["Updated", both(incident.updated)],
    ["Resolved", incident.resolved === null ? null : both(incident.resolved)],
    ["Duration", el("span", { id: "lasted" }, span(incident, eventTime))],
    ["Node", foreign(incident.node)],
    ["Attack", incident.attack],
    ["Rule", foreign(incident.rule)],
    ["Case", incident.cases.length ? incident.cases.map(caseLine) : null],
    ["Key", Object.keys(incident.key).length ? fields(incident.key) : null],
    ["Acknowledged", by === null ? null : ["by ", foreign(by)]],
    ["Verdict", judgement(incident.verdict)],
    ["Findings", String(incident.findings)],
    ["Id", el("code", {}, incident.id)],
  ];
  const shown = pairs.filter(([, value]) => value !== null);
  return el("dl", { class: "facts" }, shown.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value))));
}

/** A link to a case that it is part of; an incident of several peers can be part of several. */
function caseLine({ id, headline }) {
  return el("div", {}, el("a", { href: `/cases/${id}`, "data-route": true }, foreign(headline)));
}

/** What an operator calls the incident: `attack` or `false alarm`. */
function judgement(found) {
  if (!found) return null;
  return [`${found.verdict.replace("_", " ")}, by `, foreign(found.who), " ", both(found.time)];
}

/** A warm-up loses no input: the rule's window began before monitoring did. */
function warmUp(incident) {
  const share = incident.watched;
  if (share === null || share >= 1) return null;
  return el("p", { class: "complete quiet" }, `Monitoring had just started: it covers ${percentOf(share)} % of the window.`);
}

function completeness(incident) {
  const share = incident.completeness;
  if (share >= 1) return el("p", { class: "complete quiet" }, "No input was lost in the rule's window.");
  return el("p", { class: "complete gap" }, `Input ${percentOf(share)} % complete: lost events may have changed the verdict.`);
}

function percentOf(share) {
  return (Math.floor(share * 1000) / 10).toFixed(1);
}

/** Newest first. Small steps except the latest are folded; steps that a long history dropped are counted in place. */
function timeline(incident) {
  const steps = incident.changes.map(step);
  const small = steps.filter((_, place) => SMALL.has(incident.changes[place].reason)).slice(0, -LATEST);
  if (small.length > 1) small.forEach((node) => node.classList.add("small"));
  const beyond = incident.changes_beyond;
  if (beyond) {
    const gap = el("li", { class: "quiet" }, `${beyond} more changes were not stored`);
    steps.splice(Math.ceil(steps.length / 2), 0, gap);
  }
  const list = el("ol", { class: "timeline" }, steps.reverse());
  return small.length > 1 ? [list, unfold(list, incident.id, small.length)] : list;
}

/** A button that shows or hides the small steps, and remembers it while the page is open. */
function unfold(list, id, count) {
  const button = el("button", { type: "button", class: "unfold", "data-keep": "unfold" });
  const draw = () => {
    list.classList.toggle("folded", !unfolded.has(id));
    button.setAttribute("aria-expanded", String(unfolded.has(id)));
    button.textContent = unfolded.has(id) ? "Hide minor changes" : `Show ${count} minor changes`;
  };
  button.addEventListener("click", () => {
    if (!unfolded.delete(id)) unfolded.add(id);
    draw();
  });
  draw();
  return button;
}

function step(change) {
  const many = change.count > 1 ? [` (${change.count} times, until `, exact(change.until), ")"] : null;
  return el(
    "li",
    { "data-reason": change.reason },
    el("div", { class: "when" }, both(change.time)),
    el("div", {}, el("strong", {}, change.reason), change.text ? [": ", foreign(change.text)] : null, many),
  );
}

function measures(incident) {
  const names = [...new Set([...Object.keys(incident.measures), ...Object.keys(incident.peak)])];
  const rows = names.map((name) => [foreign(name), number(incident.measures[name]), number(incident.peak[name])]);
  return rows.length ? table("Measures", ["Measure", "Value", "Peak"], rows) : null;
}

function entities(incident) {
  if (!incident.entities.length) return null;
  const beyond = incident.entities_beyond;
  return chips(incident.entities, beyond ? `and ${beyond} more` : null);
}

function chips(texts, more) {
  const last = more ? el("li", { class: "quiet" }, more) : null;
  return el("ul", { class: "chips" }, texts.map((text) => el("li", {}, foreign(text))), last);
}

function members({ state, members: { count, firing, beyond, listed } }) {
  if (count <= 1 && !listed.some((member) => Object.keys(member).length)) return null;
  const names = [...new Set(listed.flatMap((member) => Object.keys(member)))];
  const rows = listed.map((member) => names.map((name) => (name in member ? foreign(member[name]) : "")));
  const left = Math.max(count + beyond - listed.length, 0);
  const still = state === "resolved" ? "" : `, ${firing} still firing`;
  const text = `${count} in all${still}${left ? `; ${left} not listed` : ""}`;
  const shown = names.length === 1 ? chips(listed.map((member) => `${names[0]} ${member[names[0]]}`)) : null;
  return [el("p", { class: "quiet" }, text), shown ?? (rows.length ? table("Members", names, rows) : null)];
}

function evidence(incident) {
  if (!incident.evidence.length) return el("p", { class: "quiet" }, "No evidence was stored.");
  const rows = incident.evidence.map((event) => [
    exact(event.time, { fine: true }),
    el("code", {}, event.kind),
    fields(event.fields),
  ]);
  return table("Evidence", ["Time", "Event", "Fields"], rows);
}

function fields(pairs) {
  const shown = Object.entries(pairs).map(([name, value]) =>
    el(
      "span",
      { class: "field", "data-none": value === 0 || value === false },
      el("span", { class: "name" }, foreign(name)),
      foreign(value),
    ),
  );
  return el("span", { class: "fields" }, shown);
}

function number(value) {
  if (value === undefined) return "";
  if (value === null) return "no number";
  return Number.isInteger(value) ? value.toLocaleString("en") : value.toLocaleString("en", { maximumSignificantDigits: 5 });
}
