// The numbers beside the video: tiles, frame account, drops, models, and what this browser sees.
import { byId, element, setAttribute, setText, syncChildren, syncRows } from "/page/dom.js";
import { bitRate, count, ms, percent, rate, size } from "/page/numbers.js";
import { createSteps, engineWords, hasLadder, showChanges, showSteps } from "/page/ladder.js";
import { causeWords, dropWords, kindWords, leastWords, wholeWay } from "/page/texts.js";

const ON_TIME_GOOD = 0.98; // below: worth a look
const ON_TIME_POOR = 0.9; // below: people see it

/** Show the four large numbers. */
export function showTiles(stream, history, frames) {
  const { total: latency, isToScreen } = wholeWay(stream.latency_ms);
  const share = history.onTimeShare();
  const isOver = latency.p95 > stream.budget_ms;
  const tiles = [
    {
      key: "on-time",
      label: "On time",
      value: percent(share),
      unit: "%",
      note: "of the last 10 s",
      tone: onTimeTone(share),
    },
    {
      key: "latency",
      label: isToScreen ? "To the screen p95" : "Latency p95",
      value: ms(latency.p95),
      unit: "ms",
      note: `p50 ${ms(latency.p50)} · p99 ${ms(latency.p99)}`,
      tone: isOver ? "bad" : "",
    },
    {
      key: "shown",
      label: "Shown",
      value: rate(stream.fps?.shown),
      unit: "fps",
      note: `of ${rate(stream.fps?.captured)} captured`,
      tone: "",
    },
    {
      key: "here",
      label: "In this browser",
      value: rate(frames.fps),
      unit: "fps",
      note: `decoded at ${size(frames.video.videoWidth, frames.video.videoHeight)}`,
      tone: "",
    },
  ];
  const create = () =>
    element(
      "div",
      "tile",
      element("h3", "tile-label"),
      element("p", "tile-value", element("span", "tile-number"), element("span", "tile-unit")),
      element("p", "tile-note"),
    );
  syncChildren(
    byId("tiles"),
    tiles,
    (tile) => tile.key,
    create,
    (node, tile) => {
      node.className = tile.tone ? `tile tone-${tile.tone}` : "tile";
      setText(node.children[0], tile.label);
      setText(node.children[1].children[0], tile.value);
      setText(node.children[1].children[1], tile.unit);
      setText(node.children[2], tile.note);
    },
  );
}

function onTimeTone(share) {
  if (share === null) return "";
  if (share >= ON_TIME_GOOD) return "good";
  return share >= ON_TIME_POOR ? "busy" : "bad";
}

/** Show where every captured frame went. */
export function showAccount(stream, history) {
  const frames = stream.frames ?? {};
  const dropped = Object.entries(frames.dropped ?? {}).filter(([, amount]) => amount > 0);
  const warming = frames.dropped?.warming ?? 0; // nobody could have seen these; they stand in the list below, not in the bar
  const droppedTotal = dropped.reduce((all, [, amount]) => all + amount, 0) - warming;
  const parts = [
    { key: "on-time", words: "shown on time", amount: frames.on_time ?? 0 },
    { key: "late", words: "shown late", amount: frames.late ?? 0 },
    { key: "dropped", words: "dropped", amount: droppedTotal },
    { key: "in-flight", words: "on their way", amount: frames.in_flight ?? 0 },
  ];
  const captured = (frames.captured ?? 0) - warming;
  const shareOf = (amount) => (captured > 0 ? amount / captured : null);
  setText(byId("account-note"), `${count(captured)} since the models were warm`);
  drawAccountBar(parts, captured);
  syncRows(byId("account-rows"), [
    ...parts.map((part) => ({
      key: part.key,
      words: part.words,
      note: `${percent(shareOf(part.amount))} %`,
      value: count(part.amount),
      tone: `part-${part.key}`,
    })),
    {
      key: "reused",
      words: "shown with an earlier result",
      note: `${percent(shareOf(frames.reused ?? 0))} %`,
      value: count(frames.reused ?? 0),
      tone: "plain",
    },
    {
      key: "skipped",
      words: "shown without new inference",
      note: `${percent(shareOf(frames.skipped ?? 0))} %`,
      value: count(frames.skipped ?? 0),
      tone: "plain",
    },
  ]);
  showCounts("causes", causesSince(stream.causes ?? {}, warming), causeWords, history);
  showCounts("drops", dropped, dropWords, history, "dropped");
}

// Each frame that came while the models were warming up is counted as one that they held up, and is not told here.
function causesSince(causes, warming) {
  return Object.entries(causes)
    .map(([cause, amount]) => [cause, cause === "model" ? Math.max(0, amount - warming) : amount])
    .filter(([, amount]) => amount > 0);
}

function drawAccountBar(parts, captured) {
  const bar = byId("account-bar");
  syncChildren(
    bar,
    parts,
    (part) => part.key,
    () => element("span", "account-part"),
    (node, part) => {
      node.className = `account-part part-${part.key}`;
      node.style.width = captured > 0 ? `${((part.amount / captured) * 100).toFixed(2)}%` : "0";
    },
  );
  setAttribute(bar, "aria-label", parts.map((part) => `${part.amount} ${part.words}`).join(", "));
}

/** Show counts under their title, the largest first; `kind` is what the history calls them. */
function showCounts(id, counts, wordsOf, history, kind = id) {
  const known = counts.filter(([, amount]) => amount > 0);
  byId(`${id}-title`).hidden = known.length === 0;
  const rows = known
    .sort((one, other) => other[1] - one[1])
    .map(([key, amount]) => {
      const perSecond = history.rateOf(kind, key);
      return {
        key,
        words: wordsOf(key),
        note: perSecond >= 0.05 ? `now ${rate(perSecond)}/s` : "",
        value: count(amount),
      };
    });
  syncRows(byId(id), rows);
}

/** Show one row per model stage, with its ladder and what may be changed; then how the ladders were used. */
export function showStages(stream, controls) {
  const stages = stream?.stages ?? [];
  byId("stages-card").hidden = stages.length === 0;
  setText(byId("stages-note"), leastWords(stream?.min_quality));
  showChanges(stream);
  const create = () =>
    element(
      "li",
      "stage-row",
      element("div", "stage-name", element("strong"), element("span", "stage-kind")),
      element("span", "stage-variant"),
      createSteps(),
      controls.create(),
      element("ul", "stage-facts"),
      element("p", "stage-error"),
    );
  syncChildren(
    byId("stages"),
    stages,
    (stage) => stage.name,
    create,
    (node, stage) => {
      const [name, variant, steps, live, facts, error] = node.children;
      setText(name.children[0], stage.name);
      setText(name.children[1], kindWords(stage.kind));
      setText(variant, engineWords(stage));
      variant.hidden = !stage.variant;
      showSteps(steps, stage);
      controls.show(live, stream.name, stage);
      showFacts(facts, stage, stream.shadow?.stages?.find((one) => one.name === stage.name));
      const trouble = troubleOf(stage);
      error.hidden = !trouble;
      setText(error, trouble);
    },
  );
}

function troubleOf(stage) {
  const off = stage.is_open ? "Switched off after repeated errors; tried again by itself. " : ""; // its circuit breaker is open
  const preparing = stage.preparing ? `The model ${stage.preparing}; the video goes on without it meanwhile. ` : "";
  return preparing + off + (stage.last_error ? `Last error: ${stage.last_error}` : "");
}

function showFacts(list, stage, drift) {
  const runs = stage.runs ?? 0;
  const reuses = stage.reuses ?? 0;
  const skips = stage.skips ?? 0;
  const all = runs + reuses + skips;
  const facts = [
    { key: "ips", words: "inferences/s", value: rate(stage.ips) },
    ...(hasLadder(stage) ? [] : [{ key: "cost", words: "predicted", value: `${ms(stage.predicted_ms)} ms` }]), // else its step says it
    {
      key: "reused",
      words: stage.max_age_ms ? `reused (≤ ${ms(stage.max_age_ms)} ms old)` : "reused",
      value: all ? `${percent(reuses / all)} %` : "–",
    },
    { key: "skips", words: "skipped", value: all ? `${percent(skips / all)} %` : "–" },
    ...(drift ? [driftFact(drift)] : []),
    ...Object.entries(stage.counts ?? {}).map(([key, value]) => ({ key: `own ${key}`, words: key, value: count(value) })),
    { key: "errors", words: "errors", value: count(stage.errors ?? 0), tone: stage.errors > 0 ? "bad" : "" },
  ];
  const create = () => element("li", "fact", element("span", "fact-value"), element("span", "fact-words"));
  syncChildren(
    list,
    facts,
    (fact) => fact.key,
    create,
    (node, fact) => {
      node.className = fact.tone ? `fact tone-${fact.tone}` : "fact";
      setText(node.children[0], fact.value);
      setText(node.children[1], fact.words);
    },
  );
}

/** Return how near the last frame that was checked came to torch fp32: see stream/shadow.py. */
function driftFact(drift) {
  const words = "like the reference";
  if (drift.problem) return { key: "drift", words: "no check possible", value: "!", tone: "bad" };
  if (drift.value === null || drift.value === undefined) return { key: "drift", words, value: drift.frames ? "nothing found" : "–" };
  const value = drift.unit === "dB" ? `${drift.value.toFixed(1)} dB` : `${percent(drift.value)} %`;
  return { key: "drift", words: `${words}, ${count(drift.frames)} checked`, value, tone: drift.below ? "bad" : "" };
}

/** Show what arrives here, and what the server sends and reads. */
export function showBrowser(stream, player) {
  const { frames } = player;
  const timing = player.session?.timing;
  const { encoder = {}, source = {} } = stream;
  const sourceFacts = [
    size(source.width, source.height),
    source.fps ? `${rate(source.fps)} fps` : "",
    source.codec ?? "",
  ]
    .filter(Boolean)
    .join(" · ");
  const rows = [
    ...(timing?.p50Ms == null
      ? []
      : [{ key: "screen", words: "from capture to this screen, p50", value: `${ms(timing.p50Ms)} ms` }]),
    { key: "jitter", words: "waits in the jitter buffer", value: `${ms(frames.jitterBufferMs)} ms` },
    {
      key: "lost",
      words: "packets lost",
      value: `${percent(frames.lostShare)} %`,
      tone: frames.lostShare > 0.02 ? "bad" : "",
    },
    {
      key: "rate",
      words: encoder?.codec ? `sent as ${encoder.codec}` : "sent",
      note: encoder?.target_bps ? `of ${bitRate(encoder.target_bps)}` : "",
      value: bitRate(encoder?.bitrate_bps),
    },
    ...(encoder?.error ? [{ key: "encoder", words: "encoder", value: encoder.error, tone: "bad" }] : []),
    { key: "viewers", words: "watching this stream", value: count(stream.viewers) },
    { key: "source", words: "source", value: sourceFacts },
    {
      key: "decode",
      words: "source decode errors",
      value: count(source.decode_errors),
      tone: source.decode_errors > 0 ? "busy" : "",
    },
    { key: "reconnects", words: "source reconnects", value: count(source.reconnects) },
  ];
  syncRows(byId("browser-rows"), rows);
}
