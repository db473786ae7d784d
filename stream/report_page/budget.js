// The budget by step: what was planned, what is typical, what the slow frames need.

const TAIL = ["compose", "encode"]; // steps that are planned together, as "tail": they have one number and one name

function budgetRows(stepNames) {
  const typical = stepNames.map((name) => [name, summary.latency_ms[name].p50]);
  const slow = stepNames.map((name) => [name, summary.latency_ms[name].p95]);
  const planned = Object.entries(data.planned_ms);
  const rows = [["typical (p50)", typical], ["slow (p95 each)", slow]];
  return planned.length ? [["planned", planned], ...rows] : rows;
}

function plannedCell(name, stepNames) {
  const cell = (value, ...more) => element("td", { kind: "number" }, value === undefined ? "" : ms(value), ...more);
  const together = TAIL.filter((one) => stepNames.includes(one));
  if (!together.includes(name) || data.planned_ms.tail === undefined) return [cell(data.planned_ms[name])];
  if (name !== together[0]) return [];
  const both = cell(data.planned_ms.tail, element("span", { kind: "words together", text: stepName("tail") }));
  if (together.length > 1) both.setAttribute("rowspan", together.length);
  return [both];
}

function budgetTable(stepNames) {
  const head = ["step", "planned", "p50", "p95", "p99", "max", "p95 of budget"];
  const late = (index) => (index >= 4 ? " wide" : "");
  const rows = stepNames.map((name) => {
    const one = summary.latency_ms[name];
    return element(
      "tr",
      {},
      element("td", { kind: "what" }, element("span", { kind: "swatch", swatch: stepColour(name) }), named(name)),
      ...plannedCell(name, stepNames),
      ...["p50", "p95", "p99", "max"].map((q, place) => element("td", { kind: `number${late(place + 2)}`, text: ms(one[q]) })),
      element("td", { kind: "number", text: budget ? `${((100 * one.p95) / budget).toFixed(0)} %` : "–" }),
    );
  });
  const headings = head.map((text, place) => element("th", { kind: (place ? "number" : "") + (place < 6 ? late(place) : ""), scope: "col", text }));
  return element("table", {}, element("thead", {}, element("tr", {}, ...headings)), element("tbody", {}, ...rows));
}

function startBudget() {
  const stepNames = data.steps.filter((name) => summary.latency_ms[name]?.p50 !== undefined);
  if (!stepNames.length) return byId("budget").append(nothing("No frame was shown."));
  const rows = budgetRows(stepNames);
  const sum = (steps) => steps.reduce((all, [, value]) => all + value, 0);
  const highest = Math.max(budget * 1.12, ...rows.map(([, steps]) => sum(steps) * 1.03));
  const scale = 100 / highest;
  const words = (name, value) => (value * scale > 9 ? stepName(name) : "");
  byId("budget-note").textContent = "median planned, typical and p95 milliseconds of each step; p95 of the steps do not add up to the p95 of frames";
  byId("budget").append(
    element(
      "div",
      { kind: "rows" },
      axis(highest, scale),
      ...rows.map(([label, steps]) =>
        element("div", { kind: "row" }, element("span", { kind: "row-label", text: label }), lane(steps, scale, budget, words), element("span", { kind: "row-end muted", text: `${ms(sum(steps))} ms` })),
      ),
    ),
  );
  byId("budget-table").append(budgetTable(stepNames));
}
