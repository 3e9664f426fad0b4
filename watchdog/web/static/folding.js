// Long lists: the first rows, and a button that shows the rest.

import { el, table } from "/static/dom.js";

const open = new Set(); // names of the lists whose rest is shown, while the page is open

/** The list, and its button where it is longer than that. name: of this list. noun: of its rows, in the plural. */
export function unfolding(name, tag, attributes, rows, most, noun) {
  const list = el(tag, attributes, rows);
  if (rows.length <= most + 1) return [list];
  const button = el("button", { type: "button", class: "unfold", "data-keep": `unfold ${name}` });
  const draw = () => {
    const whole = open.has(name);
    rows.forEach((row, place) => (row.hidden = !whole && place >= most));
    button.setAttribute("aria-expanded", String(whole));
    button.textContent = whole ? `Show ${most} ${noun} only` : `Show all ${rows.length} ${noun}`;
  };
  button.addEventListener("click", () => {
    if (!open.delete(name)) open.add(name);
    draw();
  });
  draw();
  return [list, button];
}

/** A table of which a part is shown at first. */
export function folded(name, caption, columns, rows, most, noun) {
  const whole = table(caption, columns, rows);
  const body = whole.querySelector("tbody");
  const [shown, more] = unfolding(name, "tbody", {}, [...body.children], most, noun);
  body.replaceWith(shown);
  return more ? [whole, more] : [whole];
}
