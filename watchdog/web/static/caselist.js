// The list of cases: those that are open first, then those that an operator has seen, then those that are over.

import { read } from "/static/api.js";
import { badge, el, foreign } from "/static/dom.js";
import { LiveList } from "/static/list.js";
import { ago } from "/static/times.js";

const STATES = ["open", "acknowledged", "resolved"];
const ROWS = 50; // of one page
const NAMES = 4;
const NONE =
  "No case yet: nothing has looked like an attack. A case opens when rules of warning or above fire, and joins their incidents.";
const EMPTY = {
  whole: NONE,
  part: `${NONE} But some sources cannot be read: see above.`,
  none: "Not monitoring: no source can be read, so no case can open. The errors are shown above.",
  ended: "All sources have ended, so monitoring has stopped. No case was opened.",
};

/** What the form of filters has, for `Filters`. */
export const ABOUT_CASES = {
  names: ["state", "severity", "node", "since", "text"],
  defaults: {},
  words: ({ id, headline, node, stages, parties, aliases }) =>
    [id, headline, node, ...stages, ...aliases, ...parties.flatMap((one) => [one.name, ...one.addresses, ...one.rules])],
};

export class CaseList extends LiveList {
  /** The next rows: the states one after the other. cursor: {state, after}, null for the first page. */
  async page(cursor, signal) {
    const wanted = this.filters.values.state;
    const states = STATES.filter((state) => !wanted || wanted.split(",").includes(state));
    let next = cursor ?? { state: states[0], after: null };
    const rows = [];
    do {
      const page = await read(`/api/v1/cases?${this.query(next)}`, { signal });
      rows.push(...page.cases);
      const following = states[states.indexOf(next.state) + 1];
      if (page.cursor !== null) next = { state: next.state, after: page.cursor };
      else next = following ? { state: following, after: null } : null;
    } while (next !== null && rows.length < ROWS);
    return { rows, cursor: next };
  }

  query({ state, after }) {
    const { severity, node, since } = this.filters.values;
    const opened = since ? String(Math.floor(Date.now() / 1000) - Number(since)) : "";
    const given = Object.entries({ state, severity, node, since: opened, limit: ROWS, cursor: after });
    return new URLSearchParams(given.filter(([, value]) => value)).toString();
  }

  /** Show a changed case; the rows of those that were merged into it go. */
  update(one) {
    for (const alias of one.aliases) this.rows.delete(alias);
    super.update(one);
  }

  later(one, other) {
    return STATES.indexOf(one.state) - STATES.indexOf(other.state) || super.later(one, other);
  }

  emptyText() {
    return this.filters.narrow ? "No case matches these filters." : EMPTY[this.sight];
  }

  row(one) {
    const attributes = { href: `/cases/${one.id}`, "data-route": true, "data-id": one.id };
    return el(
      "li",
      { "data-state": one.state, "data-severity": one.severity },
      el(
        "a",
        attributes,
        el("span", { class: "head" }, badge("severity", one.severity), foreign(one.headline, { class: "title" })),
        el("span", { class: "summary" }, names(one)),
        one.stages.length ? stages(one.stages) : null,
        foot(one),
      ),
    );
  }
}

/** Whom a case names, the most involved first; what it says when it names none. */
function names({ parties, parties_beyond: beyond }) {
  if (!parties.length) return el("span", { class: "quiet" }, "names no one");
  const more = parties.length - NAMES + beyond;
  const shown = parties.slice(0, NAMES).flatMap((one, place) => [place ? ", " : null, foreign(one.name)]);
  return [...shown, more > 0 ? ` and ${more} more` : null];
}

function stages(entered) {
  return el("span", { class: "steps" }, entered.map((stage) => el("span", { class: "step" }, stage)));
}

function foot(one) {
  const count = one.notices.length + one.notices_beyond;
  return el(
    "span",
    { class: "foot quiet" },
    badge("state", one.state),
    el("span", {}, "opened ", ago(one.opened)),
    el("span", {}, "updated ", ago(one.updated)),
    el("span", {}, count === 1 ? "1 notice" : `${count} notices`),
    foreign(one.node === "*" ? "several nodes" : one.node, { class: "node" }),
  );
}
