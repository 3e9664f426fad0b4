// The views that addresses name.

const TABLES = { "/deliveries": "deliveries", "/rules": "rules" };
const TITLES = { list: "watchdog", cases: "Cases - watchdog", deliveries: "Deliveries - watchdog", rules: "Rules - watchdog" };

/** What a path shows: {incidentId, caseId, view, home, title}. view: list, incident, cases, case, deliveries or rules. home:
 *  the one in the navigation: list, cases, deliveries or rules. */
export function viewOf(path) {
  const incidentId = path.match(/^\/incidents\/([0-9a-f]+)$/)?.[1] ?? null;
  const caseId = path.match(/^\/cases\/([0-9a-f]{16})$/)?.[1] ?? null;
  const home = TABLES[path] ?? (/^\/cases(\/|$)/.test(path) ? "cases" : "list");
  const view = incidentId !== null ? "incident" : caseId !== null ? "case" : home;
  return { incidentId, caseId, view, home, title: TITLES[view] ?? "watchdog" };
}

/** Mark the link of the view that is shown. */
export function markView(links, home) {
  for (const link of links) {
    if (link.dataset.shows === home) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
}
