// What the detectors of a rule have learnt that keep a budget of false findings.

import { el, foreign } from "/static/dom.js";

/** A line for each detector and node. */
export function budgets({ detectors = [] }) {
  const several = new Set(detectors.map(({ node }) => node)).size > 1;
  return detectors.map((one) => {
    const achieved = one.achieved === null ? "" : `, achieved ${one.achieved.toFixed(1)}`;
    const span = `(${one.low.toFixed(2)} to ${one.high.toFixed(2)})`;
    const parts = [
      `budget ${one.budget}`,
      `threshold ${one.threshold.toFixed(2)} ${span}${one.provisional ? ", provisional" : ""}`,
      `${one.peaks} peaks, ${one.false_alarms} false alarms`,
      `in 30 days: promised ${one.promised.toFixed(1)}${achieved}`,
      ...(one.waits ? [`waits ${one.waits}`] : []),
    ];
    return el("span", { class: "quiet budget" }, foreign(`${several ? `${one.node}: ` : ""}${one.name}: ${parts.join("; ")}`));
  });
}
