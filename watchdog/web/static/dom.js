// Elements from text: the only way in which this page makes markup. Nothing here parses HTML.

/** An element with attributes (true for a bare one, null and false for none) and children (nodes or text). */
export function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    node.setAttribute(name, value === true ? "" : String(value));
  }
  for (const child of children.flat(Infinity)) {
    if (child !== null && child !== undefined && child !== false) node.append(child);
  }
  return node;
}

/** Text that others chose (peers, operators, files): isolated, so that it cannot turn the text around it. */
export function foreign(text, attributes = {}) {
  return el("bdi", attributes, String(text));
}

/** A section with its heading; null when it has no content. */
export function section(title, ...children) {
  const shown = children.flat().filter((child) => child !== null && child !== undefined);
  if (!shown.length) return null;
  const id = `part-${title.toLowerCase().replaceAll(/[^a-z]+/g, "-")}`;
  return el("section", { class: "part", "aria-labelledby": id, "data-part": id }, el("h3", { id }, title), shown);
}

/** A table that becomes a list of cards on narrow screens: each cell knows the name of its column. */
export function table(caption, columns, rows) {
  const head = el("tr", {}, columns.map((name) => el("th", { scope: "col" }, name)));
  const body = rows.map((cells) =>
    el("tr", {}, cells.map((cell, place) => el("td", { "data-column": columns[place] }, cell))),
  );
  return el(
    "div",
    { class: "scroll", role: "region", "aria-label": caption, "data-keep": caption, tabindex: 0 },
    el("table", {}, el("caption", { class: "unseen" }, caption), el("thead", {}, head), el("tbody", {}, body)),
  );
}

/** A badge for a rule's maturity; null for a stable rule, and where an older version did not store it. */
export function maturityBadge(value) {
  return value && value !== "stable" ? badge("maturity", value) : null;
}

/** A badge for a severity or a state; its text says what its colour says. */
export function badge(kind, value) {
  return el("span", { class: `badge ${kind}`, "data-value": value }, value);
}

/** Show these elements in a place, in this order. Those that are there already, and alike, stay: what people read, mark
 *  or type does not move. Elements are known again by their `data-part`. */
export function redraw(place, nodes) {
  const before = new Map([...place.children].map((one) => [one.dataset.part, one]));
  const open = new Set([...place.querySelectorAll("details[open]")].map((one) => one.dataset.keep));
  for (const one of nodes.flatMap((node) => [...node.querySelectorAll("details")])) one.open = open.has(one.dataset.keep);
  const wanted = nodes.map((node) => {
    const old = before.get(node.dataset.part);
    return old?.isEqualNode(node) ? old : node;
  });
  const focused = document.activeElement?.closest("[data-keep]");
  const keep = focused && place.contains(focused) ? focused.dataset.keep : null;
  for (const one of [...place.childNodes]) if (!wanted.includes(one)) one.remove();
  wanted.forEach((node, at) => {
    if (place.childNodes[at] !== node) place.insertBefore(node, place.childNodes[at] ?? null);
  });
  if (keep && !place.contains(focused)) place.querySelector(`[data-keep="${CSS.escape(keep)}"]`)?.focus({ preventScroll: true });
}
