// Which variant each stage ran with, frame by frame, and why it was changed.

function drawLadder(stage) {
  return (pen, width, height, colour) => {
    pen.fillStyle = colour("--track");
    pen.fillRect(0, 0, width, height);
    const from_ms = frames.at_ms[0];
    const scale = width / (frames.at_ms[frames.at_ms.length - 1] + interval_ms - from_ms);
    stripe(pen, {
      from: 0, to: frames.seq.length, top: 0, height, right: width, colours: colour, rank: (name) => (name ? Number(name.slice(7)) : 9),
      x: (place) => (frames.at_ms[place] - from_ms) * scale, widest: interval_ms * 1.5 * scale,
      colourOf: (place) => (stage.ran[place] < 0 ? "" : rungColour(stage.ran[place])),
    });
  };
}

function ladderRow(stage) {
  const runs = summary.variants[stage.name] ?? {};
  const total_runs = total(runs);
  const quality = (variant) => (stage.quality[variant] === undefined || stage.quality[variant] === 1 ? "" : `, quality ${stage.quality[variant].toFixed(2)}`);
  const items = stage.variants.map((variant, place) =>
    legendItem(`${variant || "the only one"}: ${plural(runs[variant] ?? 0, "run")}${total_runs ? `, ${percent(runs[variant] ?? 0, total_runs)}` : ""}${quality(variant)}`, swatchOf(rungColour(place))),
  );
  const canvas = element("canvas", { kind: "chart chart-ladder", role: "img", "aria-label": `Variants of ${stage.name} over time` });
  const ages = summary.reused_age_ms[stage.name];
  const age = ages ? `; reused results are ${ms(ages.p50)} ms old, p95 ${ms(ages.p95)} ms` : "";
  const row = element(
    "div",
    { kind: "ladder-row" },
    element("h3", {}, stage.name, element("span", { kind: "muted", text: `${stage.kind}, ${ms(summary.ips[stage.name] ?? 0)} inferences a second${age}` })),
    element("ul", { kind: "legend" }, ...items),
    canvas,
  );
  if (frames.seq.length) chart(canvas, drawLadder(stage));
  else canvas.remove();
  return row;
}

function changesTable() {
  const head = ["at", "stage", "from", "to", "why"];
  const rows = summary.ladder.map((one) =>
    element(
      "tr",
      {},
      element("td", { kind: "number", text: seconds(one.at_ms) }),
      ...[one.stage, one.before, one.after, one.reason].map((text) => element("td", { kind: "what", text })),
    ),
  );
  const headings = head.map((text, place) => element("th", { scope: "col", text, kind: place ? "" : "number" }));
  return element("table", {}, element("thead", {}, element("tr", {}, ...headings)), element("tbody", {}, ...rows));
}

function startLadder() {
  if (!data.stages.length) byId("ladder").append(nothing("No model was in use."));
  byId("ladder").append(...data.stages.map(ladderRow));
  if (summary.ladder.length) byId("ladder-changes").append(changesTable());
  else if (data.stages.length) byId("ladder-changes").append(nothing("No variant was changed."));
}
