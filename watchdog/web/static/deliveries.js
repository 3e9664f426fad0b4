// The deliveries: pages from the API, newest first, updated live.

import { Problem, read } from "/static/api.js";
import { badge, el, foreign, table } from "/static/dom.js";
import { atMostEvery } from "/static/pace.js";
import { exact } from "/static/times.js";

const MOST_ROWS = 500; // beyond it a busy page starts again from its first page
const APART_S = 3600; // an incident may be sent up to an hour after it opened
const COLUMNS = ["Created", "Status", "Receiver", "Event", "Severity", "Incident or case", "Attempts", "Next or last", "Error"];

export class DeliveryList {
  /** parts: {form, place, empty, more}; failed: called with a Problem, or with null when reading works. */
  constructor(parts, failed) {
    Object.assign(this, { ...parts, failed });
    this.rows = new Map(); // id -> delivery, in the order of the list
    this.news = new Map(); // updates that arrived while a page was loading, which the page may lack
    this.cursor = null;
    this.asked = null;
    this.drawSoon = atMostEvery(500, () => this.draw());
    this.more.addEventListener("click", () => this.load(this.cursor));
    this.form.addEventListener("submit", (event) => event.preventDefault());
    this.form.addEventListener("change", () => {
      history.replaceState(null, "", location.pathname + this.search());
      this.load();
    });
  }

  /** The form's values: {status, receiver}. */
  get values() {
    return Object.fromEntries(["status", "receiver"].map((name) => [name, this.form.elements[name].value.trim()]));
  }

  /** Fill the form from the address bar's query. */
  restore() {
    const query = new URLSearchParams(location.search);
    for (const name of ["status", "receiver"]) this.form.elements[name].value = query.get(name) ?? "";
    if (this.form.elements.status.selectedIndex === -1) this.form.elements.status.value = "";
  }

  /** The query string for the address bar. */
  search() {
    const given = Object.entries(this.values).filter(([, value]) => value);
    return given.length ? `?${new URLSearchParams(given)}` : "";
  }

  /** Read a page; the first one replaces everything. */
  async load(cursor = null) {
    this.asked?.abort();
    const asked = (this.asked = new AbortController());
    this.news.clear();
    this.more.disabled = true;
    const given = Object.entries({ ...this.values, cursor }).filter(([, value]) => value);
    try {
      const page = await read(`/api/v1/deliveries?${new URLSearchParams(given)}`, { signal: asked.signal });
      if (asked.signal.aborted) return;
      if (cursor === null) this.rows.clear();
      for (const one of page.deliveries) this.rows.set(one.id, one);
      this.cursor = page.cursor;
      for (const one of this.news.values()) this.put(one);
      this.draw();
      this.failed(null);
    } catch (error) {
      if (asked.signal.aborted) return;
      this.failed(error instanceof Problem ? error : new Problem(0, String(error)));
    }
    this.asked = null;
    this.more.disabled = false;
  }

  /** Show a delivery that was attempted or is resent. */
  update(delivery) {
    if (this.asked) this.news.set(delivery.id, delivery);
    this.put(delivery);
    if (this.rows.size > MOST_ROWS) this.load();
    else this.drawSoon();
  }

  put(delivery) {
    const { status, receiver } = this.values;
    const wanted = (!status || status === delivery.status) && (!receiver || receiver === delivery.receiver);
    const known = this.rows.has(delivery.id);
    if (!wanted) this.rows.delete(delivery.id);
    else if (known) this.rows.set(delivery.id, delivery);
    else this.insert(delivery);
  }

  /** Insert before all older ones; a delivery older than the last row comes with the next page. */
  insert(delivery) {
    const ordered = [...this.rows.values()];
    const place = ordered.findIndex((one) => one.created <= delivery.created);
    if (place === -1 && this.cursor !== null) return;
    ordered.splice(place === -1 ? ordered.length : place, 0, delivery);
    this.rows = new Map(ordered.map((one) => [one.id, one]));
  }

  draw() {
    const rows = [...this.rows.values()].map(cells);
    const scrolled = this.place.firstElementChild?.scrollLeft ?? 0;
    const focused = document.activeElement?.dataset?.delivery;
    this.place.replaceChildren(...(rows.length ? [table("Deliveries", COLUMNS, rows)] : []));
    if (scrolled) this.place.firstElementChild.scrollLeft = scrolled;
    if (focused) this.place.querySelector(`[data-delivery="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
    this.more.hidden = this.cursor === null;
    this.empty.hidden = rows.length > 0;
    const narrow = Object.values(this.values).some(Boolean);
    this.empty.textContent = narrow ? "No delivery matches these filters." : "No notification has been created yet.";
  }
}

/** When its incident opened, if event time is far from the wall clock: a recording, or a service that is behind. */
function openedElsewhen({ created, incident_opened: opened }) {
  const apart = opened !== null && Math.abs(created - opened) > APART_S;
  return apart ? el("span", { class: "quiet line below" }, " of ", exact(opened)) : null;
}

function errorCell({ last_error: error, merged_into: carrier }) {
  if (error) return foreign(error, { class: "error", title: error });
  return carrier ? el("span", { class: "quiet" }, "in ", el("code", {}, carrier)) : "";
}

function cells(one) {
  const subject = one.incident ?? one.case;
  const path = one.incident === null ? "cases" : "incidents";
  const link = { href: `/${path}/${subject}`, "data-route": true, "data-delivery": one.id, title: one.id };
  return [
    exact(one.created),
    badge("delivery", one.status),
    foreign(one.receiver),
    one.type.replace(/^(incident|case)\./, ""),
    badge("severity", one.severity),
    el("span", {}, el("a", link, el("code", {}, subject)), openedElsewhen(one)),
    el("span", { class: "line" }, `${one.attempts}${one.last_status === null ? "" : ` (HTTP ${one.last_status})`}`),
    one.next !== null ? el("span", { class: "line" }, "next ", exact(one.next)) : one.settled !== null ? exact(one.settled) : "",
    errorCell(one),
  ];
}
