// The frames that came last to their deadline: where each one's milliseconds went.

const stepColour = (name) => `var(--step-${name}, var(--muted))`;

function parts(steps, scale, words = () => "") {
  return steps
    .filter(([, value]) => value > 0)
    .map(([name, value]) =>
      element("span", { kind: "part", swatch: stepColour(name), style: { width: `${Math.max(0, value * scale)}%` }, text: words(name, value), title: stepName(name) }),
    );
}

function lane(steps, scale, deadline_ms, words) {
  return element(
    "div",
    { kind: "lane", "aria-hidden": "true" },
    element("div", { kind: "lane-parts" }, ...parts(steps, scale, words)),
    element("span", { kind: "deadline", style: { left: `${deadline_ms * scale}%` } }),
  );
}

// `line_ms` is what the line through the rows means, in `words`.
function axis(highest, scale, line_ms = budget, words = "budget") {
  const isNarrow = window.innerWidth < 720;
  const isRight = line_ms * scale > 80; // its words end at the line, else they are centred on it
  const taken = highest * (isNarrow ? 0.24 : 0.12) * (isRight ? 1.7 : 1); // by those words: no number beside them
  const marks = ticks(0, highest, isNarrow ? 3 : 6).filter((value) => Math.abs(value - line_ms) > taken);
  return element(
    "div",
    { kind: "row row-axis", "aria-hidden": "true" },
    element("span"),
    element(
      "div",
      { kind: "axis" },
      ...marks.filter((value) => value * scale < 97 && value > 0).map((value) => element("span", { text: `${value}`, style: { left: `${value * scale}%` } })),
      element("span", { kind: `is-budget${isRight ? " is-right" : ""}`, text: `${words} ${ms(line_ms)} ms`, style: { left: `${line_ms * scale}%` } }),
    ),
    element("span"),
  );
}

function decisionsInWords(decisions) {
  return Object.entries(decisions)
    .map(([stage, one]) => `${stage}: ${one.action}${one.variant ? ` ${one.variant}` : ""}${one.age_ns ? `, result ${ms(one.age_ns / 1e6)} ms old` : ""}${one.reason ? ` (${one.reason})` : ""}`)
    .join("; ");
}

function waterfallRow(row, scale) {
  const steps = data.steps.filter((name) => name in row.steps_ms).map((name) => [name, row.steps_ms[name]]);
  const isLate = row.late_ms > 0;
  const end = isLate ? `+${ms(row.late_ms)} ms ${row.cause}` : `${ms(-row.late_ms)} ms to spare`;
  return element(
    "details",
    { kind: "frame" },
    element(
      "summary",
      { kind: "row" },
      element("span", { kind: "row-label", text: `${row.seq} at ${seconds(row.at_ms)}` }),
      lane(steps, scale, row.deadline_ms),
      element("span", { kind: `row-end ${isLate ? "tone-bad" : "muted"}`, text: end, title: end }),
    ),
    element(
      "div",
      { kind: "frame-more" },
      ...steps.map(([name, value]) => element("span", {}, `${named(name)} `, element("b", { text: `${ms(value)} ms` }))),
      element("span", {}, "in all ", element("b", { text: `${ms(row.age_ms)} of ${ms(row.deadline_ms)} ms` })),
      element("p", { text: `${decisionsInWords(row.decisions)}${row.cause && why(row.cause) ? `. Cause: ${why(row.cause)}.` : ""}` }),
    ),
  );
}

function startWaterfall() {
  const late = summary.misses_total;
  byId("h-waterfall").textContent = late ? "The worst frames" : "The frames nearest to their deadline";
  if (!data.worst.length) {
    byId("waterfall").append(nothing("No frame was sent."));
    byId("waterfall-note").hidden = true;
    return;
  }
  const highest = Math.max(...data.worst.map((row) => Math.max(row.age_ms, row.deadline_ms))) * 1.04;
  const scale = 100 / highest;
  const seen = data.steps.filter((name) => data.worst.some((row) => row.steps_ms[name] > 0));
  byId("waterfall-note").textContent = `${data.worst.length} of ${plural(late, "late frame")}; open a row for its numbers`;
  if (late < data.worst.length) byId("waterfall-note").textContent = `${plural(late, "late frame")}; open a row for its numbers`;
  byId("waterfall-legend").append(...seen.map((name) => legendItem(named(name), stepColour(name))));
  byId("waterfall").append(element("div", { kind: "rows" }, axis(highest, scale, data.worst[0].deadline_ms, "deadline"), ...data.worst.map((row) => waterfallRow(row, scale))));
}
