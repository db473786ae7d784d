// Every frame: its age when it was sent, over time, and below a stripe of how each one ended.

const frames = data.frames;
const STATE_WORDS = {
  "on time": "on time",
  reused: "on time, with an earlier result",
  skipped: "on time, without a stage",
  late: "late",
  unsettled: "not settled",
};
const LEFT = 44; // px, for the numbers of the axis
const TOP = 16; // px, for the word at the budget line
const STRIPE = 26; // px
const BELOW = 24; // px, for the time axis

const stateOf = (place) => data.states[frames.state[place]];
let isDrawing = false;
const isMiss = (place) => stateOf(place) === "late" || stateOf(place) === "dropped";
const view = { from: 0, to: Math.max(1, frames.seq.length), chosen: -1 }; // places of frames

function colourOfFrame(place) {
  return stateColour(stateOf(place), frames.why[place]);
}

function typicalInterval() {
  const gaps = [];
  for (let place = 1; place < frames.at_ms.length; place++) gaps.push(frames.at_ms[place] - frames.at_ms[place - 1]);
  gaps.sort((a, b) => a - b);
  return gaps.length ? Math.max(gaps[gaps.length >> 1], 0.001) : 33;
}

const interval_ms = typicalInterval();

// The axis reaches past the budget, and shows a few extreme frames at its upper edge rather than flattening all others.
function highestAge() {
  const { p99 = 0, max = 0 } = summary.latency_ms.capture_to_send;
  return Math.max(budget * 1.25, Math.min(max * 1.05, Math.max(p99 * 1.5, budget * 1.25)), 1);
}

function timeScale(width) {
  const from_ms = frames.at_ms[view.from] ?? 0;
  const to_ms = (frames.at_ms[view.to - 1] ?? 0) + interval_ms;
  const scale = (width - LEFT) / (to_ms - from_ms);
  return { from_ms, to_ms, x: (at_ms) => LEFT + (at_ms - from_ms) * scale, scale };
}

function drawTimeline(pen, width, height, colour) {
  const floor = height - STRIPE - BELOW - 8;
  const highest = highestAge();
  const time = timeScale(width);
  const y = (age) => floor - ((floor - TOP) * Math.min(age, highest)) / highest;
  for (const value of ticks(0, highest, 4)) {
    line(pen, LEFT, y(value), width, y(value), colour("--line"));
    write(pen, ms(value).replace(".0", ""), LEFT - 8, y(value) + 4, colour("--muted"), "right");
  }
  write(pen, "ms", LEFT - 8, TOP - 4, colour("--muted"), "right");
  drawDots(pen, time, y, colour);
  line(pen, LEFT, y(budget), width, y(budget), colour("--budget"), 1.5);
  write(pen, `budget ${ms(budget)} ms`, width - 2, y(budget) - 5, colour("--budget"), "right");
  stripe(pen, {
    ...view, top: floor + 8, height: STRIPE, right: width, colours: colour, colourOf: colourOfFrame,
    x: (place) => time.x(frames.at_ms[place]), rank: rankOfColour, widest: interval_ms * 1.5 * time.scale,
  });
  drawTimeAxis(pen, width, height, time, colour);
  drawChosen(pen, floor, time, y, colour);
}

const RANK = ["dropped", "late", "unsettled", "skipped", "reused", "on time"].map((state) => stateColour(state, ""));
function rankOfColour(name) {
  const place = RANK.indexOf(name);
  return place < 0 ? 0 : place; // every kind of drop above all else
}

function drawDots(pen, time, y, colour) {
  const shown = view.to - view.from;
  const radius = shown < 300 ? 3 : shown < 2500 ? 2 : 1.2;
  for (const isLate of [false, true]) { // late ones on top
    for (let place = view.from; place < view.to; place++) {
      if (frames.age_ms[place] === null || (stateOf(place) === "late") !== isLate) continue;
      pen.globalAlpha = isLate || shown < 2500 ? 1 : 0.55;
      pen.fillStyle = colour(colourOfFrame(place));
      const [x, height] = [time.x(frames.at_ms[place] + interval_ms / 2), y(frames.age_ms[place])];
      if (radius < 2) pen.fillRect(x - radius, height - radius, 2 * radius, 2 * radius); // many: squares are several times faster
      else {
        pen.beginPath();
        pen.arc(x, height, radius, 0, 7);
        pen.fill();
      }
    }
  }
  pen.globalAlpha = 1;
}

function drawTimeAxis(pen, width, height, time, colour) {
  for (const value of ticks(time.from_ms / 1000, time.to_ms / 1000, width / 110)) {
    const x = time.x(value * 1000);
    if (x > width - 12 || x < LEFT) continue;
    line(pen, x, height - BELOW + 1, x, height - BELOW + 6, colour("--muted"));
    write(pen, `${value} s`, x, height - 4, colour("--muted"), value === 0 ? "left" : "center");
  }
}

function drawChosen(pen, floor, time, y, colour) {
  const place = view.chosen;
  if (place < view.from || place >= view.to) return;
  const x = time.x(frames.at_ms[place] + interval_ms / 2);
  line(pen, x, TOP, x, floor + 8 + STRIPE, colour("--ink"));
  if (frames.age_ms[place] === null) return;
  pen.strokeStyle = colour("--ink");
  pen.lineWidth = 2;
  pen.beginPath();
  pen.arc(x, y(frames.age_ms[place]), 5, 0, 7);
  pen.stroke();
}

function frameInWords(place) {
  const words = [`Frame ${frames.seq[place]} at ${seconds(frames.at_ms[place])}: `];
  const state = stateOf(place);
  const reason = frames.why[place];
  if (state === "dropped") words.push(`dropped, ${named(reason)}${why(reason) ? ` (${why(reason)})` : ""}`);
  else words.push(state === "late" ? `late by ${ms(frames.late_ms[place])} ms` : STATE_WORDS[state]);
  if (frames.age_ms[place] !== null) words.push(`; ${ms(frames.age_ms[place])} ms from capture to send`);
  if (frames.cause[place]) words.push(`; cause: ${frames.cause[place]}`);
  return `${words.join("")}.`;
}

function choose(place) {
  view.chosen = Math.max(0, Math.min(frames.seq.length - 1, place));
  if (view.chosen < view.from || view.chosen >= view.to) show(view.chosen - (view.to - view.from) / 2, view.to - view.from);
  byId("readout").textContent = frameInWords(view.chosen);
  if (!isDrawing) requestAnimationFrame(() => {
    isDrawing = false;
    redraw(byId("timeline"));
  });
  isDrawing = true; // a mouse moves more often than the screen shows
}

// The first place in view whose frame came at or after `at_ms`.
function placeAt(at_ms) {
  let low = view.from;
  let high = view.to - 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (frames.at_ms[middle] + interval_ms < at_ms) low = middle + 1;
    else high = middle;
  }
  return low;
}

// The frame under the pointer: of those within a few pixels the one whose dot is nearest, so that a lone late one can be hit.
function placeUnder(event) {
  const canvas = byId("timeline");
  const box = canvas.getBoundingClientRect();
  const time = timeScale(box.width);
  const floor = box.height - STRIPE - BELOW - 8;
  const x = event.clientX - box.left;
  const at_ms = time.from_ms + (x - LEFT) / time.scale;
  const reach_ms = 5 / time.scale;
  let best = placeAt(at_ms);
  let nearest = Infinity;
  for (let place = placeAt(at_ms - reach_ms); place < view.to && frames.at_ms[place] <= at_ms + reach_ms; place++) {
    const age = frames.age_ms[place];
    const dotY = age === null ? floor + 8 + STRIPE / 2 : floor - ((floor - TOP) * Math.min(age, highestAge())) / highestAge();
    const gap = Math.hypot((frames.at_ms[place] + interval_ms / 2 - at_ms) * time.scale, (dotY - (event.clientY - box.top)) / 3);
    if (gap < nearest) [nearest, best] = [gap, place];
  }
  return best;
}

function show(from, length) {
  const all = Math.max(1, frames.seq.length);
  const wanted = Math.round(Math.max(Math.min(20, all), Math.min(all, length)));
  view.from = Math.round(Math.max(0, Math.min(all - wanted, from)));
  view.to = view.from + wanted;
  byId("zoom-out").disabled = byId("zoom-all").disabled = wanted >= all;
  byId("zoom-in").disabled = wanted <= Math.min(20, all);
  redraw(byId("timeline"));
}

function zoom(factor) {
  const length = view.to - view.from;
  const isChosenInView = view.chosen >= view.from && view.chosen < view.to;
  const middle = isChosenInView ? view.chosen : view.from + length / 2;
  const share = (middle - view.from) / length;
  show(middle - length * factor * share, length * factor);
}

function chooseMiss(direction) {
  const start = view.chosen < 0 ? (direction > 0 ? -1 : frames.seq.length) : view.chosen;
  for (let place = start + direction; place >= 0 && place < frames.seq.length; place += direction) {
    if (isMiss(place)) return choose(place);
  }
  byId("readout").textContent = view.chosen < 0 ? "No frame was late or dropped." : "No further miss on this side.";
}

const KEYS = {
  ArrowLeft: (event) => (event.shiftKey ? chooseMiss(-1) : choose(view.chosen < 0 ? view.to - 1 : view.chosen - 1)),
  ArrowRight: (event) => (event.shiftKey ? chooseMiss(1) : choose(view.chosen < 0 ? view.from : view.chosen + 1)),
  Home: () => choose(0),
  End: () => choose(frames.seq.length - 1),
  "+": () => zoom(0.5),
  "=": () => zoom(0.5),
  "-": () => zoom(2),
  0: () => show(0, frames.seq.length),
};

function timelineLegend() {
  const counts = new Map();
  for (let place = 0; place < frames.seq.length; place++) {
    const state = stateOf(place);
    const words = state === "dropped" ? `dropped: ${named(frames.why[place])}` : STATE_WORDS[state];
    const entry = counts.get(words) ?? { colour: colourOfFrame(place), amount: 0, rank: data.states.indexOf(state) };
    entry.amount += 1;
    counts.set(words, entry);
  }
  const ordered = [...counts].sort((a, b) => a[1].rank - b[1].rank || b[1].amount - a[1].amount);
  byId("timeline-legend").append(...ordered.map(([words, one]) => legendItem(`${words} ${count(one.amount)}`, swatchOf(one.colour))));
}

function startTimeline() {
  const canvas = byId("timeline");
  if (!frames.seq.length) {
    canvas.replaceWith(nothing("No frame arrived."));
    document.querySelector("#timeline-card .buttons").hidden = true;
    return;
  }
  timelineLegend();
  chart(canvas, drawTimeline);
  canvas.setAttribute("aria-label", `Age of each frame over time. ${data.verdict} Arrow keys go from frame to frame, with shift from miss to miss, + and - zoom.`);
  byId("readout").textContent = "Point at a frame, tap it, or use the arrow keys.";
  canvas.addEventListener("pointermove", (event) => event.pointerType === "mouse" && choose(placeUnder(event)));
  canvas.addEventListener("pointerdown", (event) => choose(placeUnder(event)));
  canvas.addEventListener("keydown", (event) => {
    if (!Object.hasOwn(KEYS, event.key) || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    KEYS[event.key](event);
  });
  byId("zoom-in").addEventListener("click", () => zoom(0.5));
  byId("zoom-out").addEventListener("click", () => zoom(2));
  byId("zoom-all").addEventListener("click", () => show(0, frames.seq.length));
  byId("miss-before").addEventListener("click", () => chooseMiss(-1));
  byId("miss-after").addEventListener("click", () => chooseMiss(1));
  show(0, frames.seq.length);
}
