// The page of a case: reads it, keeps it up to date, and follows a merged case to the one that it is part of now.

import { Problem, read } from "/static/api.js";
import { caseView } from "/static/case.js";
import { CaseActs, offersSilences } from "/static/caseacts.js";
import { redraw } from "/static/dom.js";

export class CasePage {
  /** place: where it is drawn. failed: called with the Problem that hid it. moved: called when the address has changed. */
  constructor(place, { failed, moved }) {
    Object.assign(this, { place, failed, moved });
    this.id = this.acts = this.merged = null;
  }

  /** Note which case is open; null for none. */
  open(id) {
    if (id !== this.id) this.acts = this.merged = null;
    this.id = id;
  }

  /** Read and draw the case that is open. */
  async show() {
    const id = this.id;
    if (id === null) return;
    try {
      const one = `/api/v1/cases/${id}`;
      const [found, decisions, silencing] = await Promise.all([read(one), read(`${one}/decisions`), offersSilences()]);
      if (this.id !== id) return;
      if (found.id !== id) this.follow(found.id);
      this.acts ??= new CaseActs(found.id, () => this.show());
      this.acts.draw(found, silencing);
      redraw(this.place, caseView(found, decisions, this.acts.node, this.merged));
      document.title = `${found.headline} - watchdog`;
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      if (this.id === id) this.failed(error);
    }
  }

  /** The case was merged into another one: the address is that of the other from now on. */
  follow(id) {
    const old = this.id;
    this.open(id);
    history.replaceState(null, "", `/cases/${id}${location.search}`);
    this.merged = old;
    this.moved(id);
  }

  /** Whether a change of that case concerns the open one. */
  isAbout({ id, aliases = [] }) {
    return this.id !== null && (id === this.id || aliases.includes(this.id));
  }
}
