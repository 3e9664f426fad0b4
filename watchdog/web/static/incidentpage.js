// The page of an incident: reads it, and keeps it up to date.

import { Problem, read } from "/static/api.js";
import { incidentView, span } from "/static/detail.js";

export class IncidentPage {
  /** place: where it is drawn. failed: called with the Problem that hid it. */
  constructor(place, { failed }) {
    Object.assign(this, { place, failed });
    this.id = null;
    this.found = null; // as it was last read
    this.eventTime = null; // the latest event time of the service, in unix seconds
  }

  /** Note which incident is open; null for none. */
  open(id) {
    this.id = id;
  }

  /** Note how far the service is: a condition that holds has lasted until then. */
  reach(eventTime) {
    this.eventTime = eventTime;
    document.getElementById("lasted")?.replaceChildren(span(this.found, eventTime));
  }

  /** Whether the incident that is open may just have become part of a case. */
  get waitsForCase() {
    return this.id !== null && this.found?.id === this.id && !this.found.cases.length;
  }

  /** Read and draw the incident that is open. */
  async show() {
    const id = this.id;
    if (id === null) return;
    try {
      const incident = await read(`/api/v1/incidents/${id}`);
      if (this.id !== id) return;
      const focused = document.activeElement.closest("#detail [data-keep]")?.dataset.keep;
      this.found = incident;
      this.place.replaceChildren(...incidentView(incident, this.eventTime));
      if (focused) this.place.querySelector(`[data-keep="${focused}"]`)?.focus({ preventScroll: true });
      document.title = `${incident.title || incident.rule} - watchdog`;
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      if (this.id === id) this.failed(error);
    }
  }
}
