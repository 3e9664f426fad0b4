// Lists below an incident: what operators said of it, the recorded files of its time, and its deliveries.

import { badge, el, foreign, table } from "/static/dom.js";
import { exact } from "/static/times.js";

/** The recorded files, on the machine of the service; nothing without a recorder. */
export function recordings(incident) {
  if (!incident.recordings?.length) return null;
  const shown = incident.recordings.map((one) =>
    el(
      "li",
      {},
      el("div", { class: "when" }, exact(one.from), " to ", exact(one.to), `, ${one.size.toLocaleString("en")} bytes`),
      foreign(one.path),
    ),
  );
  return el("ol", { class: "notes" }, shown);
}

/** The texts of notes, acknowledgements and resolutions. */
export function operatorNotes(incident) {
  const withText = incident.actions.filter((done) => done.text);
  if (!withText.length) return null;
  const shown = withText.map((done) =>
    el("li", {}, el("div", { class: "when" }, exact(done.time), ` ${done.action} by `, foreign(done.who)), foreign(done.text)),
  );
  return el("ol", { class: "notes" }, shown);
}

/** What was sent of the incident itself. */
export function deliveries(incident) {
  const none = `No notification was sent for this incident${incident.cases.length ? " itself; its case lists its own" : ""}.`;
  if (!incident.deliveries.length) return el("p", { class: "quiet" }, none);
  const rows = incident.deliveries.map((one) => [
    exact(one.created),
    foreign(one.receiver),
    one.type.replace("incident.", ""),
    badge("delivery", one.status),
    `${one.attempts}${one.last_status === null ? "" : ` (HTTP ${one.last_status})`}`,
    one.last_error ? foreign(one.last_error) : "",
  ]);
  return table("Deliveries", ["Created", "Receiver", "Event", "Status", "Attempts", "Error"], rows);
}
