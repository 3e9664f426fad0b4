// Lists of rows: pages from the API, updated live; and the list of incidents, latest opened first.

import { Problem, read } from "/static/api.js";
import { badge, el, foreign, maturityBadge } from "/static/dom.js";
import { atMostEvery } from "/static/pace.js";
import { ago } from "/static/times.js";

const MOST_ROWS = 1000; // beyond it a busy page starts again from its first page
const EMPTY = {
  whole: "No open incidents. Select another state to see resolved ones.",
  part: "No open incidents, but some sources cannot be read: see above. Select another state to see resolved ones.",
  none: "Not monitoring: no source can be read, so no incident can be detected. The errors are shown above.",
  ended: "All sources have ended, so monitoring has stopped. Select another state to see resolved incidents.",
};

/** A list that others fill in: `page` reads rows, `row` draws one, `later` orders them, `emptyText` explains none. */
export class LiveList {
  /** parts: {list, empty, more}; failed: called with a Problem, or with null when reading works. */
  constructor(parts, filters, failed) {
    Object.assign(this, { ...parts, filters, failed });
    this.rows = new Map(); // id -> {one, node}
    this.news = new Map(); // updates that arrived while a page was loading, which the page may lack
    this.cursor = null;
    this.asked = new AbortController();
    this.chosen = null;
    this.sight = "whole";
    this.arrangeSoon = atMostEvery(200, () => this.arrange());
    this.more.addEventListener("click", () => this.load(this.cursor));
  }

  /** Read a page; the first one replaces everything. */
  async load(cursor = null) {
    this.asked.abort();
    const asked = (this.asked = new AbortController());
    this.news.clear();
    this.list.setAttribute("aria-busy", "true");
    this.more.disabled = true;
    try {
      const page = await this.page(cursor, asked.signal);
      if (asked.signal.aborted) return;
      this.show(page, cursor === null);
      this.failed(null);
    } catch (error) {
      if (!asked.signal.aborted) this.failed(error instanceof Problem ? error : new Problem(0, String(error)));
    }
    if (this.asked !== asked) return;
    this.list.setAttribute("aria-busy", "false");
    this.more.disabled = false;
  }

  show(page, first) {
    if (first) this.rows.clear();
    for (const one of page.rows) this.put(one);
    this.cursor = page.cursor;
    for (const one of this.news.values()) this.place(one);
    this.arrange();
  }

  /** Show what changed: move its row, or remove it. */
  update(one) {
    if (this.list.getAttribute("aria-busy") === "true") this.news.set(one.id, one);
    this.place(one);
    if (this.rows.size > MOST_ROWS) this.load();
    else this.arrangeSoon();
  }

  place(one) {
    if (!this.filters.wants(one)) this.rows.delete(one.id);
    else if (this.rows.has(one.id) || this.cursor === null || this.isWithin(one)) this.put(one);
  }

  put(one) {
    this.rows.set(one.id, { one, node: this.row(one) });
  }

  /** Whether it comes before the last loaded row; later ones come with the next page. */
  isWithin(one) {
    const last = [...this.rows.values()].at(-1)?.one;
    return !last || this.later(one, last) <= 0;
  }

  /** Note how many sources the service can read: without any, an empty list is no good news. */
  sees(sight) {
    this.sight = sight;
    if (!this.empty.hidden) this.arrange();
  }

  /** Draw the rows in order, hide those that the text filter excludes, and explain an empty list. */
  arrange() {
    const focused = document.activeElement?.dataset?.id;
    const ordered = [...this.rows.values()].sort((row, other) => this.later(row.one, other.one));
    this.rows = new Map(ordered.map((row) => [row.one.id, row]));
    for (const { one, node } of ordered) node.hidden = !this.filters.shows(one);
    this.list.replaceChildren(...ordered.map((row) => row.node));
    this.more.hidden = this.cursor === null;
    this.mark(this.chosen);
    if (focused) this.list.querySelector(`[data-id="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
    const none = !ordered.some((row) => !row.node.hidden);
    this.empty.hidden = !none;
    this.empty.textContent = this.emptyText();
  }

  /** Mark the one that is open beside the list. */
  mark(id) {
    this.chosen = id;
    for (const link of this.list.querySelectorAll("a[data-id]")) {
      if (link.dataset.id === id) link.setAttribute("aria-current", "true");
      else link.removeAttribute("aria-current");
    }
  }

  /** Order of the list, as in the API: latest opening time first, then id. */
  later(one, other) {
    return other.opened - one.opened || (one.id < other.id ? 1 : one.id > other.id ? -1 : 0);
  }
}

export class IncidentList extends LiveList {
  async page(cursor, signal) {
    const page = await read(`/api/v1/incidents?${this.filters.query(cursor)}`, { signal });
    return { rows: page.incidents, cursor: page.cursor };
  }

  emptyText() {
    return this.filters.narrow ? "No incident matches these filters." : EMPTY[this.sight];
  }

  row(incident) {
    const head = el(
      "span",
      { class: "head" },
      badge("severity", incident.severity),
      foreign(incident.title || incident.rule, { class: "title" }),
    );
    const state = incident.state === "open" ? null : badge("state", incident.state);
    const foot = el(
      "span",
      { class: "foot quiet" },
      state,
      maturityBadge(incident.maturity),
      ago(incident.opened),
      el("span", {}, incident.attack),
      foreign(incident.node, { class: "node" }),
    );
    const attributes = { href: `/incidents/${incident.id}`, "data-route": true, "data-id": incident.id };
    return el("li", { "data-state": incident.state, "data-severity": incident.severity },
      el("a", attributes, head, foreign(incident.summary, { class: "summary" }), foot),
    );
  }
}
