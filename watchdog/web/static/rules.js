// The rules in force: all are read at once, as they are few, and shown in steps.

import { Problem, read } from "/static/api.js";
import { budgets } from "/static/budgets.js";
import { badge, el, foreign, table } from "/static/dom.js";

const STEP = 50; // rows more
const COLUMNS = ["Rule", "Severity", "Attack", "Can fire", "Events", "By", "Window", "Maturity", "From"];
const UNITS = [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]];

export class RuleList {
  /** parts: {form, place, empty, more}; failed: called with a Problem, or with null when reading works. */
  constructor(parts, failed) {
    Object.assign(this, { ...parts, failed });
    this.rules = [];
    this.room = STEP;
    this.asked = null;
    this.more.addEventListener("click", () => this.draw(this.room + STEP));
    this.form.addEventListener("submit", (event) => event.preventDefault());
    this.form.addEventListener("input", () => this.draw(STEP));
  }

  /** Read all rules. */
  async load() {
    this.asked?.abort();
    const asked = (this.asked = new AbortController());
    try {
      const found = await read("/api/v1/rules", { signal: asked.signal });
      if (asked.signal.aborted) return;
      this.rules = found.rules;
      this.draw(this.room);
      this.failed(null);
    } catch (error) {
      if (!asked.signal.aborted) this.failed(error instanceof Problem ? error : new Problem(0, String(error)));
    }
  }

  draw(room) {
    const wanted = this.form.elements.text.value.trim().toLowerCase();
    const found = this.rules.filter((rule) => !wanted || words(rule).includes(wanted));
    this.room = room;
    const rows = found.slice(0, room).map(cells);
    this.place.replaceChildren(...(rows.length ? [table("Rules", COLUMNS, rows)] : []));
    this.more.hidden = found.length <= room;
    this.more.textContent = `Show more (${Math.min(room, found.length)} of ${found.length})`;
    this.empty.hidden = found.length > 0;
    this.empty.textContent = this.rules.length ? "No rule matches this search." : "No rules are in force.";
  }
}

function words({ id, title, attack, severity, kinds = [], lacks = [], place = "" }) {
  return [id, title, attack, severity, ...kinds, ...lacks, place].join("\n").toLowerCase();
}

function cells(rule) {
  return [
    el("span", { class: "rule" }, foreign(rule.title), el("code", { class: "quiet" }, foreign(rule.id)), budgets(rule)),
    badge("severity", rule.severity),
    rule.attack,
    ability(rule),
    el("span", { class: "words" }, (rule.kinds ?? []).map((kind) => el("code", {}, foreign(kind)))),
    el("span", { class: "words" }, (rule.by ?? []).map((name) => el("code", {}, foreign(name)))),
    rule.over_s ? whole(rule.over_s) : "",
    rule.maturity ?? "",
    rule.place ? el("span", { class: "words" }, foreign(rule.place)) : "",
  ];
}

/** Whether the sources can make the rule fire, and what they lack. */
function ability({ can_fire, lacks = [] }) {
  if (can_fire === undefined) return "";
  const word = can_fire === true ? "yes" : can_fire === false ? "no" : "not known";
  const value = { yes: "sent", no: "high" }[word] ?? "waiting";
  const lacking = lacks.length ? el("span", { class: "quiet" }, foreign(`lacks ${lacks.join(", ")}`)) : null;
  return el("span", { class: "words" }, el("span", { class: "badge ability", "data-value": value }, word), lacking);
}

/** `10 min`, `36 h`, `90 s`: exact, in the largest unit that divides it. */
function whole(seconds) {
  const [unit, size] = UNITS.find(([, size]) => seconds % size === 0) ?? ["s", 1];
  return `${seconds / size} ${unit}`;
}
