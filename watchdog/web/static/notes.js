// Lists below an incident: what operators said of it, and the recorded files of its time.

import { el, foreign } from "/static/dom.js";
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
