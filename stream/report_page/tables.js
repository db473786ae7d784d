// Tiles, tables of drops and causes, the comparison with a baseline, and what it ran on.

function tile(id, label, number, unit, note, tone = "") {
  return element(
    "div",
    { kind: "tile", id },
    element("p", { kind: "tile-label", text: label }),
    element("p", { kind: `tile-number ${tone}`, text: number }, element("span", { kind: "tile-unit", text: unit })),
    element("p", { kind: "tile-note", text: note }),
  );
}

function shareTone(share) {
  return share >= 0.99 ? "tone-good" : share >= 0.9 ? "tone-busy" : "tone-bad";
}

function startTiles() {
  const { captured, shown, on_time, dropped, reused, skipped, unsettled } = summary.frames;
  const latency = summary.latency_ms.capture_to_send;
  const gone = total(dropped);
  const [share, sign] = percent(on_time, shown).split(" ");
  const age = (value) => (value === undefined ? ["–", ""] : [ms(value), "ms"]);
  const tone = (value) => (value === undefined ? "" : value > budget ? "tone-bad" : "tone-good");
  byId("tiles").append(
    tile("tile-on-time", "On time", share, sign ?? "", `${count(on_time)} of ${plural(shown, "frame")} shown`, shown ? shareTone(on_time / shown) : ""),
    tile("tile-p50", "Typical (p50)", ...age(latency.p50), "capture to send"),
    tile("tile-p99", "Slow (p99)", ...age(latency.p99), `of ${ms(budget)} ms budget`, tone(latency.p99)),
    tile("tile-fps", "Shown", ms(summary.fps.shown), "fps", `of ${ms(summary.fps.captured)} captured`),
    tile("tile-dropped", "Dropped", count(gone), gone === 1 ? "frame" : "frames", `${captured ? `${percent(gone, captured)} of ${count(captured)}` : "none arrived"}${unsettled ? `, ${count(unsettled)} not settled` : ""}`),
    tile("tile-utility", "Quality in time", summary.utility.toFixed(2), "of 1", `${count(reused)} with an earlier result, ${count(skipped)} without a stage`),
  );
}

function countRows(id, counts, all, colourOf) {
  const names = Object.keys(counts);
  if (!names.length) return byId(id).append(nothing("None."));
  const rows = names.map((name) =>
    element(
      "tr",
      {},
      element(
        "td",
        { kind: "what" },
        named(name),
        element("span", { kind: "words", text: why(name) ? `: ${why(name)}` : "" }),
        element("span", { kind: "share", swatch: colourOf(name) }, element("span", { style: { width: `${(100 * counts[name]) / all}%` } })),
      ),
      element("td", { kind: "number", text: count(counts[name]) }),
      element("td", { kind: "number muted", text: percent(counts[name], all) }),
    ),
  );
  byId(id).append(element("table", {}, element("tbody", {}, ...rows)));
}

function startCounts() {
  const { captured, dropped } = summary.frames;
  byId("drops-note").textContent = total(dropped) ? `${count(total(dropped))} of ${plural(captured, "frame")}` : "";
  countRows("drops", dropped, total(dropped), (name) => swatchOf(dropColour(name)));
  countRows("causes", summary.causes, total(summary.causes), () => "var(--late)");
}

const COMPARED = { "on time": "on time, of all frames", shown: "shown", p50: "capture to send p50", p95: "p95", p99: "p99" };
const VERDICT_TONES = { better: "tone-good", worse: "tone-bad", "can't tell": "tone-busy" };
function signed(value) {
  const size = Math.abs(value * 100).toFixed(1);
  return size === "0.0" ? size : `${value > 0 ? "+" : "−"}${size}`;
}

// The interval of a change around 0, all rows on one scale.
function interval(one, reach) {
  const x = (value) => 95 + 90 * Math.max(-1, Math.min(1, value / reach));
  const picture = drawing("svg", { class: "interval", viewBox: "0 0 190 22", role: "img", "aria-label": `from ${signed(one.low)} to ${signed(one.high)} %` });
  picture.append(
    drawing("line", { x1: 95, x2: 95, y1: 1, y2: 21, stroke: "var(--muted)" }),
    drawing("rect", { x: x(one.low), width: Math.max(2, x(one.high) - x(one.low)), y: 8, height: 6, rx: 3, fill: "currentColor", opacity: 0.45 }),
    drawing("circle", { cx: x(one.change), cy: 11, r: 4.5, fill: "currentColor" }),
  );
  return picture;
}

function comparisonRow(one, reach) {
  const tone = VERDICT_TONES[one.verdict] ?? "";
  const has = one.change !== null;
  const value = (number) => (number === null ? "–" : `${one.unit === "share" ? (number * 100).toFixed(1) : ms(number)} ${one.unit === "share" ? "%" : one.unit}`);
  return element(
    "tr",
    {},
    element("td", { kind: "what" }, COMPARED[one.name] ?? one.name),
    element("td", { kind: "number wide", text: value(one.before) }),
    element("td", { kind: "number", text: value(one.now) }),
    element("td", { kind: "number", text: has ? `${signed(one.change)} ${one.unit === "share" ? "points" : "%"}` : "" }),
    element("td", { kind: `wide ${tone}` }, ...(has ? [interval(one, reach)] : [])),
    element("td", { kind: "number wide muted", text: has ? `${signed(one.low)} … ${signed(one.high)}` : "" }),
    element("td", {}, element("span", { kind: `pill ${tone}`, text: one.verdict })),
  );
}

function startBaseline() {
  if (!data.baseline) return;
  byId("baseline-card").hidden = false;
  const reach = Math.max(0.05, ...data.baseline.filter((one) => one.change !== null).flatMap((one) => [Math.abs(one.low), Math.abs(one.high)]));
  const headings = [["", ""], ["before", "number wide"], ["now", "number"], ["change", "number"], ["", "wide"], ["95 % interval", "number wide"], ["verdict", ""]];
  const head = headings.map(([text, kind]) => element("th", { scope: "col", text, kind }));
  const rows = data.baseline.map((one) => comparisonRow(one, Math.min(reach, 1)));
  byId("baseline").append(element("table", {}, element("thead", {}, element("tr", {}, ...head)), element("tbody", {}, ...rows)));
  const notes = new Set(data.baseline.map((one) => one.note).filter(Boolean));
  byId("baseline").append(...[...notes].map((text) => element("p", { kind: "note", text })));
}

function startFoot() {
  const versions = Object.entries(summary.versions).map(([name, version]) => `${name} ${version}`).join(", ");
  const rows = [
    ["device", summary.device],
    ["versions", versions],
    ["memory", summary.memory_mb === null ? "" : `${ms(summary.memory_mb)} MB at most`],
    ["machine probe", summary.machine_probe_ms === null ? "" : `${summary.machine_probe_ms.toFixed(2)} ms for a fixed piece of work`],
    ["other programs", summary.other_load === null ? "" : `${(summary.other_load * 100).toFixed(0)} % of the processor meanwhile`],
    ["decisions", summary.decisions_sha256],
  ].filter(([, value]) => value);
  byId("foot").append(element("dl", {}, ...rows.flatMap(([name, value]) => [element("dt", { text: name }), element("dd", { text: value })])));
}

function startHead() {
  byId("title").textContent = [summary.stream, summary.clip].filter(Boolean).join(" · ") || "a run";
  const facts = [plural(summary.frames.captured, "frame"), `${summary.duration_s.toFixed(1)} s`, `pace ${summary.pace}`, `budget ${ms(budget)} ms`, summary.device, summary.created];
  byId("facts").textContent = facts.filter(Boolean).join(" · ");
  byId("cut-short").hidden = !summary.is_cut_short;
}
