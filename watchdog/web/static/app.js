// The page: routes between the views (cases, incidents, one of them, deliveries, rules) and keeps them up to date.

import { Problem, keepToken, read } from "/static/api.js";
import { ABOUT_CASES, CaseList } from "/static/caselist.js";
import { CasePage } from "/static/casepage.js";
import { el, foreign } from "/static/dom.js";
import { DeliveryList } from "/static/deliveries.js";
import { Filters } from "/static/filters.js";
import { connectionText, posture, sightOf, trouble } from "/static/head.js";
import { IncidentPage } from "/static/incidentpage.js";
import { IncidentList } from "/static/list.js";
import { atMostEvery } from "/static/pace.js";
import { RuleList } from "/static/rules.js";
import { watch } from "/static/stream.js";
import { refresh } from "/static/times.js";
import { markView, viewOf } from "/static/views.js";

const TICK_MS = 5000;
const STATUS_MS = 30000;
const part = (id) => document.getElementById(id);

const filters = new Filters(part("filters"), { changed: () => list.load(), narrowed: () => list.arrange() });
const list = new IncidentList({ list: part("incidents"), empty: part("empty"), more: part("more") }, filters, report);
const onCases = { changed: () => caseList.load(), narrowed: () => caseList.arrange() };
const caseFilters = new Filters(part("case-filters"), onCases, ABOUT_CASES);
const caseParts = { list: part("cases"), empty: part("cases-empty"), more: part("cases-more") };
const caseList = new CaseList(caseParts, caseFilters, report);
const casePage = new CasePage(part("detail"), { failed: showFailure, moved: (id) => caseList.mark(id) });
const incidentPage = new IncidentPage(part("detail"), { failed: showFailure });
const deliveries = new DeliveryList(partsOf("deliveries", "delivery-filters"), report);
const rules = new RuleList(partsOf("rules", "rule-filters"), report);
const readStatus = atMostEvery(1000, showStatus);
const readDetail = atMostEvery(1000, showDetail);
const LISTS = { list: [filters, list], cases: [caseFilters, caseList] };
const loaded = new Set(); // views whose list has been read
let view = "list"; // or incident, cases, case, deliveries, rules
let home = "list"; // the view in the navigation: list, cases, deliveries, rules
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
    incidentPage.reach(service.event_time ?? null);
    sight = sightOf(service);
    document.body.dataset.sight = sight;
    list.sees(sight);
    caseList.sees(sight);
    showConnection();
    part("posture").replaceChildren(...posture(incidents, sight));
    const words = trouble(service);
    part("trouble").hidden = !words.length;
    part("trouble").replaceChildren(...words.map((word) => el("span", {}, foreign(word))));
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
  }
}

function showDetail() {
  return (casePage.id === null ? incidentPage : casePage).show();
}

function showFailure(error) {
  if (error.status === 401) return report(error);
  const [href, text] = home === "cases" ? ["/cases", "All cases"] : ["/", "All incidents"];
  const back = el("a", { class: "back", href, "data-route": true }, text);
  part("detail").replaceChildren(back, el("p", { class: "empty" }, foreign(error.message)));
}

/** Show the view that the address names. */
function route({ focus = false } = {}) {
  const { incidentId, caseId, title, ...found } = viewOf(location.pathname);
  ({ view, home } = found);
  incidentPage.open(incidentId);
  casePage.open(caseId);
  document.body.dataset.view = view;
  document.title = title;
  markView(part("views").children, home);
  list.mark(incidentPage.id);
  caseList.mark(casePage.id);
  if (view === "deliveries") deliveries.restore();
  readTable();
  const one = incidentId ?? caseId;
  if (!(home in LISTS)) return void (focus && part(`${view}-title`).focus());
  LISTS[home][0].load();
  if (!loaded.has(home)) loadList();
  const [kind, rows] = home === "cases" ? ["case", part("cases")] : ["incident", part("incidents")];
  const waiting = one === null ? `Select ${kind === "case" ? "a case" : "an incident"}.` : `Loading the ${kind}.`;
  part("detail").setAttribute("aria-label", kind === "case" ? "Case" : "Incident");
  part("detail").replaceChildren(el("p", { class: "empty" }, waiting));
  if (one !== null) readDetail();
  if (focus) (one === null ? rows : part("detail")).focus({ preventScroll: true });
  if (focus && one !== null) part("detail").scrollIntoView({ block: "nearest" });
}

/** Read the list that is shown; the other one is read when it is opened. */
function loadList() {
  if (!(home in LISTS)) return;
  loaded.add(home);
  LISTS[home][1].load();
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
  const kind = path.startsWith("/cases") ? caseFilters : filters;
  history.pushState(null, "", path + ({ "/deliveries": deliveries.search(), "/rules": "" }[path] ?? kind.search()));
  route({ focus: true });
}

function happened(event, data) {
  if (event === "reset" || (event === "hello" && !data.resumed)) reload();
  if (event === "incident") {
    const { change, ...incident } = data;
    list.update(incident);
    readStatus();
    if (incident.id === incidentPage.id) readDetail();
    if (change?.reason === "opened" && home !== "cases") tell("New", incident.severity, incident.title);
  }
  if (event === "case") caseChanged(data);
  if (event === "reload") readStatus();
  if (event === "reload" && view === "rules") rules.load();
  if (event === "delivery" && (casePage.isAbout({ id: data.case }) || incidentPage.id === data.incident)) readDetail();
  if (event === "delivery" && view === "deliveries") deliveries.update(data);
  if (event === "deliveries") readDetail();
  if (event === "deliveries" && view === "deliveries") deliveries.load();
}

function caseChanged(data) {
  caseList.update(data);
  if (casePage.isAbout(data) || incidentPage.waitsForCase) readDetail();
  const opened = data.notices.length === 1 && !data.notices_beyond && data.notices[0].reason === "opened";
  if (opened && data.state === "open" && home === "cases") tell("New case", data.severity, data.headline);
}

/** Say what is new to those who do not see it. */
function tell(what, severity, title) {
  part("news").replaceChildren(`${what}: ${severity}, `, foreign(title));
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
  loaded.clear();
  loadList();
  readStatus();
  readDetail();
  readTable();
}

document.addEventListener("click", follow);
window.addEventListener("popstate", () => {
  loaded.clear();
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
readStatus();
watch(happened, connected);
