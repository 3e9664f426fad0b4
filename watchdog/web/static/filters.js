// The filters: form, address bar and API use the same names.

const NAMES = ["state", "severity", "attack", "node", "text"];
const DEFAULTS = { state: "open,acknowledged" };
const SEVERITIES = ["info", "warning", "high", "critical"];

export class Filters {
  /** changed: called when other rows are needed; narrowed: when only the text changed. */
  constructor(form, { changed, narrowed }) {
    this.form = form;
    this.load();
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
    return Object.fromEntries(NAMES.map((name) => [name, this.form.elements[name].value.trim()]));
  }

  /** Whether any filter differs from its default. */
  get narrow() {
    return Object.entries(this.values).some(([name, value]) => value !== (DEFAULTS[name] ?? ""));
  }

  /** The query of a page of the API. */
  query(cursor) {
    const { text, ...wanted } = this.values;
    const given = Object.entries({ ...wanted, cursor }).filter(([, value]) => value);
    return new URLSearchParams(given).toString();
  }

  /** Fill the form from the address bar's query. */
  load() {
    const query = new URLSearchParams(location.search);
    for (const name of NAMES) {
      const field = this.form.elements[name];
      field.value = query.get(name) ?? DEFAULTS[name] ?? "";
      if (field.selectedIndex === -1) field.value = DEFAULTS[name] ?? "";
    }
  }

  /** Write the form's values into the address bar. */
  save() {
    history.replaceState(null, "", location.pathname + this.search());
  }

  /** The query string for links of this page, so that filters survive a click. */
  search() {
    const given = Object.entries(this.values).filter(([name, value]) => value !== (DEFAULTS[name] ?? ""));
    return given.length ? `?${new URLSearchParams(given)}` : "";
  }

  /** Whether the service would list the incident. */
  wants(incident) {
    const { state, severity, attack, node } = this.values;
    return (
      (!state || state.split(",").includes(incident.state)) &&
      (!severity || SEVERITIES.indexOf(incident.severity) >= SEVERITIES.indexOf(severity)) &&
      (!attack || incident.attack === attack) &&
      (!node || incident.node === node)
    );
  }

  /** Whether the text filter shows it. */
  shows(incident) {
    const wanted = this.values.text.toLowerCase();
    if (!wanted) return true;
    const { id, title, rule, summary, node, entities, key } = incident;
    return [id, title, rule, summary, node, ...entities, ...Object.values(key)].join("\n").toLowerCase().includes(wanted);
  }
}
