// The page: routes between the views (incidents, one incident, deliveries, rules) and keeps them up to date.

import { Problem, keepToken, read } from "/static/api.js";
import { incidentView, span } from "/static/detail.js";
import { el, foreign } from "/static/dom.js";
import { DeliveryList } from "/static/deliveries.js";
import { Filters } from "/static/filters.js";
import { connectionText, posture, sightOf, trouble } from "/static/head.js";
import { IncidentList } from "/static/list.js";
import { atMostEvery } from "/static/pace.js";
import { RuleList } from "/static/rules.js";
import { watch } from "/static/stream.js";
import { refresh } from "/static/times.js";

const TICK_MS = 5000;
const STATUS_MS = 30000;
const part = (id) => document.getElementById(id);

const filters = new Filters(part("filters"), { changed: () => list.load(), narrowed: () => list.arrange() });
const list = new IncidentList({ list: part("incidents"), empty: part("empty"), more: part("more") }, filters, report);
const deliveries = new DeliveryList(partsOf("deliveries", "delivery-filters"), report);
const rules = new RuleList(partsOf("rules", "rule-filters"), report);
const readStatus = atMostEvery(1000, showStatus);
const readDetail = atMostEvery(1000, showDetail);
const TITLES = { list: "watchdog", deliveries: "Deliveries - watchdog", rules: "Rules - watchdog" };
let shown = null; // id of the incident that is open
let detail = null; // that incident as it was last read
let eventTime = null; // the latest event time of the service, in unix seconds
let view = "list"; // or incident, deliveries, rules
let stream = "connecting"; // of the page itself: live, waiting, paused
let sight = "whole"; // how much of its sources the service can read: whole, part, none, ended

function partsOf(name, form) {
  return { form: part(form), place: part(name), empty: part(`${name}-empty`), more: part(`${name}-more`) };
}

/** Show an error, or hide it when the problem is null. */
function report(problem) {
  const unknown = problem?.status === 401;
  part("token-form").hidden = !unknown;
  part("notice").hidden = problem === null || unknown;
  for (const empty of document.querySelectorAll(".empty[id]")) empty.hidden ||= problem !== null;
  if (problem === null || unknown) return;
  const retry = el("button", { type: "button" }, "Try again");
  retry.addEventListener("click", reload);
  part("notice").replaceChildren(el("span", {}, "Request failed: ", foreign(problem.message)), retry);
}

async function showStatus() {
  try {
    const { service, incidents } = await read("/api/v1/status");
    part("node").replaceChildren(foreign(service.node));
    eventTime = service.event_time ?? null;
    part("lasted")?.replaceChildren(span(detail, eventTime));
    sight = sightOf(service);
    document.body.dataset.sight = sight;
    list.sees(sight);
    showConnection();
    part("posture").replaceChildren(...posture(incidents, sight));
    const words = trouble(service);
    part("trouble").hidden = !words.length;
    part("trouble").replaceChildren(...words.map((word) => el("span", {}, foreign(word))));
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
  }
}

async function showDetail() {
  const id = shown;
  if (id === null) return;
  try {
    const incident = await read(`/api/v1/incidents/${id}`);
    if (shown !== id) return;
    const focused = document.activeElement.closest("#detail [data-keep]")?.dataset.keep;
    detail = incident;
    part("detail").replaceChildren(...incidentView(incident, eventTime));
    if (focused) part("detail").querySelector(`[data-keep="${focused}"]`)?.focus({ preventScroll: true });
    document.title = `${incident.title || incident.rule} - watchdog`;
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    if (error.status === 401) return report(error);
    const back = el("a", { class: "back", href: "/", "data-route": true }, "All incidents");
    if (shown === id) part("detail").replaceChildren(back, el("p", { class: "empty" }, foreign(error.message)));
  }
}

/** Show the view that the address names. */
function route({ focus = false } = {}) {
  shown = location.pathname.match(/^\/incidents\/([0-9a-f]+)$/)?.[1] ?? null;
  view = shown !== null ? "incident" : { "/deliveries": "deliveries", "/rules": "rules" }[location.pathname] ?? "list";
  document.body.dataset.view = view;
  document.title = TITLES[view] ?? "watchdog";
  for (const link of part("views").children) {
    const here = link.dataset.shows === (view === "incident" ? "list" : view);
    if (here) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  list.mark(shown);
  if (view === "deliveries") deliveries.restore();
  readTable();
  if (view === "deliveries" || view === "rules") return void (focus && part(`${view}-title`).focus());
  const waiting = shown === null ? "Select an incident." : "Loading the incident.";
  part("detail").replaceChildren(el("p", { class: "empty" }, waiting));
  if (shown !== null) readDetail();
  if (focus) (shown === null ? part("incidents") : part("detail")).focus({ preventScroll: true });
  if (focus && shown !== null) part("detail").scrollIntoView({ block: "nearest" });
}

/** Read the table that is shown; the other one is read when it is opened. */
function readTable() {
  if (view === "deliveries") deliveries.load();
  if (view === "rules") rules.load();
}

function follow(event) {
  const link = event.target.closest("a[data-route]");
  if (!link || event.defaultPrevented || event.button || event.metaKey || event.ctrlKey || event.shiftKey) return;
  event.preventDefault();
  const path = link.getAttribute("href");
  history.pushState(null, "", path + ({ "/deliveries": deliveries.search(), "/rules": "" }[path] ?? filters.search()));
  route({ focus: true });
}

function happened(event, data) {
  if (event === "reset" || (event === "hello" && !data.resumed)) reload();
  if (event === "incident") {
    const { change, ...incident } = data;
    list.update(incident);
    readStatus();
    if (incident.id === shown) readDetail();
    if (change?.reason === "opened") part("news").replaceChildren(`New: ${incident.severity}, `, foreign(incident.title));
  }
  if (event === "reload") readStatus();
  if (event === "reload" && view === "rules") rules.load();
  if (event === "delivery" && data.incident === shown) readDetail();
  if (event === "delivery" && view === "deliveries") deliveries.update(data);
  if (event === "deliveries") readDetail();
  if (event === "deliveries" && view === "deliveries") deliveries.load();
}

function connected(state, problem) {
  stream = state;
  showConnection();
  if (problem?.status === 401) report(problem);
}

/** Show the state of the connection; "live" and green only while the service can read its sources. */
function showConnection() {
  part("connection").dataset.state = stream;
  part("connection").textContent = connectionText(stream, sight);
}

function reload() {
  list.load();
  readStatus();
  readDetail();
  readTable();
}

document.addEventListener("click", follow);
window.addEventListener("popstate", () => {
  filters.load();
  list.load();
  route();
});
part("token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  keepToken(part("token").value);
  reload();
});
setInterval(refresh, TICK_MS);
setInterval(() => document.hidden || readStatus(), STATUS_MS);
route();
reload();
watch(happened, connected);
