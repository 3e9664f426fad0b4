// The filters: form, address bar and API use the same names.

const INCIDENTS = {
  names: ["state", "severity", "attack", "node", "text"],
  defaults: { state: "open,acknowledged" },
  words: ({ id, title, rule, summary, node, entities, key }) =>
    [id, title, rule, summary, node, ...entities, ...Object.values(key)],
};
const SEVERITIES = ["info", "warning", "high", "critical"];

export class Filters {
  /** changed: called when other rows are needed; narrowed: when only the text changed. about: names of the fields, their
   *  defaults, and the words of a row in which the text is looked for. */
  constructor(form, { changed, narrowed }, about = INCIDENTS) {
    Object.assign(this, { form, ...about });
    share(form);
    this.load("");
    form.addEventListener("submit", (event) => event.preventDefault());
    let timer = 0;
    form.addEventListener("input", (event) => {
      this.save();
      clearTimeout(timer);
      if (event.target.name === "text") narrowed();
      else timer = setTimeout(changed, event.target.name === "node" ? 300 : 0);
    });
  }

  /** The form's values, by name. */
  get values() {
    return Object.fromEntries(this.names.map((name) => [name, this.form.elements[name].value.trim()]));
  }

  /** Whether any filter differs from its default. */
  get narrow() {
    return Object.entries(this.values).some(([name, value]) => value !== (this.defaults[name] ?? ""));
  }

  /** The query of a page of the API. */
  query(cursor) {
    const { text, ...wanted } = this.values;
    const given = Object.entries({ ...wanted, cursor }).filter(([, value]) => value);
    return new URLSearchParams(given).toString();
  }

  /** Fill the form from a query, that of the address bar. */
  load(search = location.search) {
    const query = new URLSearchParams(search);
    for (const name of this.names) {
      const field = this.form.elements[name];
      field.value = query.get(name) ?? this.defaults[name] ?? "";
      if (field.selectedIndex === -1) field.value = this.defaults[name] ?? "";
    }
  }

  /** Write the form's values into the address bar. */
  save() {
    history.replaceState(null, "", location.pathname + this.search());
  }

  /** The query string for links of this page, so that filters survive a click. */
  search() {
    const given = Object.entries(this.values).filter(([name, value]) => value !== (this.defaults[name] ?? ""));
    return given.length ? `?${new URLSearchParams(given)}` : "";
  }

  /** Whether the service would list the row. */
  wants(one) {
    const { state, severity, attack, node, since } = this.values;
    return (
      (!state || state.split(",").includes(one.state)) &&
      (!severity || SEVERITIES.indexOf(one.severity) >= SEVERITIES.indexOf(severity)) &&
      (!attack || one.attack === attack) &&
      (!node || one.node === node) &&
      (!since || one.opened >= Date.now() / 1000 - Number(since))
    );
  }

  /** Whether the text filter shows it. */
  shows(one) {
    const wanted = this.values.text.toLowerCase();
    return !wanted || this.words(one).join("\n").toLowerCase().includes(wanted);
  }
}

/** Put the fields that both lists have around the form's own: state and severity before, node and text after them. */
function share(form) {
  const [state, severity, node, text] = document.getElementById("shared-filters").content.cloneNode(true).children;
  form.prepend(state, severity);
  form.append(node, text);
}
