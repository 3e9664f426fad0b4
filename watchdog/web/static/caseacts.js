// What operators do with a case: acknowledge, resolve, note, split a party off, silence one. Each needs the token.

import { Problem, hasToken, keepToken, read, send } from "/static/api.js";
import { el, foreign, section } from "/static/dom.js";

const WHO = "watchdog-who";
const LISTED = 200; // parties to choose from
const SILENCES = "/api/v1/cases/{id}/silences";
const DONE = {
  ack: "Acknowledged.",
  resolve: "Resolved.",
  notes: "Note added.",
  split: "Split off: its own case follows as soon as the service has applied this.",
  silences: "Silenced.",
};
let silencing = null; // whether the service has silences; asked for once

/** Whether the service has silences for a party of a case. Throws Problem. */
export async function offersSilences() {
  silencing ??= SILENCES in (await read("/api/v1/openapi.json")).paths;
  return silencing;
}

/** One form for one case; it stays while the case is open, so that nothing typed is lost when the case changes. */
export class CaseActs {
  /** done: called when the case has changed. */
  constructor(id, done) {
    Object.assign(this, { id, done, busy: false });
    const asName = { autocomplete: "nickname", maxlength: 100, spellcheck: "false", placeholder: "api" };
    this.who = el("input", { name: "who", type: "text", ...asName });
    this.who.value = sessionStorage.getItem(WHO) ?? "";
    this.text = el("textarea", { name: "text", rows: 2, placeholder: "why; required for a note or a silence" });
    const kept = { autocomplete: "off", spellcheck: "false", placeholder: "stored until this tab closes" };
    this.token = el("input", { name: "token", type: "password", ...kept });
    this.asksToken = el("label", {}, "API token", this.token);
    this.asksToken.hidden = hasToken();
    this.party = el("select", { name: "party" });
    this.span = el("select", { name: "for" }, ["1h", "4h", "1d", "7d"].map((text) => el("option", {}, text)));
    this.ack = this.button("Acknowledge", "ack");
    this.resolve = this.button("Resolve", "resolve");
    this.splits = this.button("Split off", "split");
    this.silence = this.button("Silence", "silences");
    this.said = el("p", { class: "said", role: "status" });
    this.node = this.form();
  }

  form() {
    const form = el(
      "form",
      { class: "acts", "aria-label": "Act on this case" },
      el("label", {}, "Your name", this.who),
      this.asksToken,
      el("label", { class: "wide" }, "Text", this.text),
      el("div", { class: "row wide" }, this.ack, this.button("Add note", "notes"), this.resolve),
      el("div", { class: "row wide" }, el("label", {}, "Party", this.party), this.splits),
      (this.quiet = el("div", { class: "row wide" }, el("label", {}, "Silence this party for", this.span), this.silence)),
      this.said,
    );
    form.addEventListener("submit", (event) => event.preventDefault());
    return section("Act", form);
  }

  button(label, verb) {
    const button = el("button", { type: "button" }, label);
    button.addEventListener("click", () => this.act(verb));
    return button;
  }

  /** Offer what the case in its present state allows. silencing: whether the service has silences. */
  draw(found, silencing) {
    const own = found.parties.slice(0, LISTED).map((one) => one.name);
    const listed = [...this.party.options].map((one) => one.value);
    if (own.join("\n") !== listed.join("\n")) {
      const chosen = this.party.value;
      this.party.replaceChildren(...own.map((name) => el("option", { value: name }, name)));
      if (own.includes(chosen)) this.party.value = chosen;
    }
    this.quiet.hidden = !silencing;
    this.ack.disabled = this.resolve.disabled = found.state === "resolved";
    this.splits.disabled = own.length < 2;
    this.party.disabled = this.silence.disabled = !own.length;
    this.splits.title = own.length < 2 ? "It has no second party: there is nothing to split." : "";
  }

  async act(verb) {
    if (this.busy) return;
    if (verb === "notes" && !this.text.value.trim()) return this.say("A note needs a text.", this.text);
    if (verb === "silences" && !this.text.value.trim()) return this.say("A silence needs a reason.", this.text);
    if (this.token.value) keepToken(this.token.value);
    sessionStorage.setItem(WHO, this.who.value.trim());
    this.busy = true;
    this.say("Sending.");
    try {
      const answer = await send(`/api/v1/cases/${this.id}/${verb}`, this.body(verb));
      this.said.replaceChildren(answer.already ? foreign(`It is already ${answer.already}.`) : DONE[verb]);
      this.text.value = this.token.value = "";
      this.asksToken.hidden = true;
      this.done();
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      this.failed(error);
    } finally {
      this.busy = false;
    }
  }

  body(verb) {
    const who = this.who.value.trim();
    const text = this.text.value.trim();
    const by = who ? { who } : {};
    if (verb === "silences") return { ...by, party: this.party.value, for: this.span.value, comment: text };
    return { ...by, text, ...(verb === "split" ? { party: this.party.value } : {}) };
  }

  failed(error) {
    this.asksToken.hidden &&= error.status !== 401;
    this.say(error.message, error.status === 401 ? this.token : null);
  }

  say(text, field = null) {
    this.said.replaceChildren(foreign(text));
    field?.focus();
  }
}
