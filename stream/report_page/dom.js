// The data of the run, and small things that every chart needs. Text is set as text, never as HTML.

const data = JSON.parse(document.getElementById("data").textContent);
const summary = data.summary;
const budget = summary.budget_ms;

const byId = (id) => document.getElementById(id);

function element(tag, { text, swatch, style, ...rest } = {}, ...children) {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = text;
  if (swatch) made.style.setProperty("--swatch", swatch);
  for (const [name, value] of Object.entries(style ?? {})) made.style.setProperty(name, value);
  for (const [name, value] of Object.entries(rest)) {
    if (value !== undefined && value !== null) made.setAttribute(name === "kind" ? "class" : name, value);
  }
  made.append(...children);
  return made;
}

function drawing(tag, attributes) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}

const nothing = (text) => element("p", { kind: "nothing", text });
const legendItem = (text, swatch) => element("li", {}, element("span", { kind: "swatch", swatch }), text);

// Numbers for people
const ms = (value) => (value === undefined || value === null ? "–" : value >= 100 ? value.toFixed(0) : value.toFixed(1));
const seconds = (at_ms) => `${(at_ms / 1000).toFixed(2)} s`;
const count = (value) => String(value).replace(/\B(?=(\d{3})+$)/g, "\u202f");
// 100 % is said only of all, and 0.0 % only of none.
function percent(part, whole) {
  if (!whole) return "–";
  if (part === whole) return "100 %";
  return `${part ? Math.min(99.9, Math.max(0.1, (100 * part) / whole)).toFixed(1) : "0.0"} %`;
}
const plural = (value, one, many = `${one}s`) => `${count(value)} ${value === 1 ? one : many}`;
const total = (counts) => Object.values(counts).reduce((all, one) => all + one, 0);
const named = (name) => name.replaceAll("_", " ");
const stepName = (name) => (name === "tail" ? "draw + encode" : named(name)); // "tail" is what was planned for both
const why = (name) => (Object.hasOwn(data.words, name) ? data.words[name] : "");

// Colours: canvases need values, everything else takes the names.
const KNOWN_DROPS = new Set(["superseded", "no_time", "warming", "encoder_busy", "encoder_error"]);
const dropColour = (reason) => `--drop-${KNOWN_DROPS.has(reason) ? reason : "other"}`;
const stateColour = (state, reason) => (state === "dropped" ? dropColour(reason) : `--${state.replace(" ", "-")}`);
const rungColour = (place) => `--rung-${place % 6}`;
const swatchOf = (name) => `var(${name})`;

function palette() {
  const style = getComputedStyle(document.documentElement);
  const known = new Map();
  return (name) => {
    if (!known.has(name)) known.set(name, style.getPropertyValue(name).trim());
    return known.get(name);
  };
}

// Canvases are drawn in CSS pixels, sharp on every screen, and again when the page's width or the theme changes.
const charts = [];

function chart(canvas, draw) {
  charts.push({ canvas, draw });
}

function redraw(canvas) {
  for (const one of charts) {
    if (canvas && one.canvas !== canvas) continue;
    const { width, height } = one.canvas.getBoundingClientRect();
    if (!width) continue;
    const ratio = window.devicePixelRatio || 1;
    one.canvas.width = Math.round(width * ratio);
    one.canvas.height = Math.round(height * ratio);
    const pen = one.canvas.getContext("2d");
    pen.scale(ratio, ratio);
    pen.font = `12px ${getComputedStyle(document.body).fontFamily}`;
    one.draw(pen, width, height, palette());
  }
}

// About `wanted` round values from 0 or `from` up to `to`.
function ticks(from, to, wanted) {
  const rough = (to - from) / Math.max(1, wanted);
  if (!(rough > 0)) return [from];
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find((factor) => factor * power >= rough);
  const found = [];
  for (let value = Math.ceil(from / step) * step; value <= to + step * 1e-6; value += step) found.push(+value.toPrecision(12));
  return found;
}

function write(pen, text, x, y, colour, align = "left") {
  pen.fillStyle = colour;
  pen.textAlign = align;
  pen.fillText(text, x, y);
}

function line(pen, x1, y1, x2, y2, colour, width = 1) {
  pen.strokeStyle = colour;
  pen.lineWidth = width;
  pen.beginPath();
  pen.moveTo(x1, y1);
  pen.lineTo(x2, y2);
  pen.stroke();
}

// One stripe for the frames from..to-1. Where several frames share a pixel, its column is split by their shares: nothing rare
// disappears, nothing frequent is overdrawn. `x` gives the left edge of a frame, `colours` its colour by place.
function stripe(pen, { from, to, x, top, height, right, colours, colourOf, rank, widest }) {
  let column = null;
  let held = new Map();
  const flush = () => {
    const all = [...held.values()].reduce((sum, one) => sum + one, 0);
    let y = top;
    for (const [colour, amount] of [...held].sort((a, b) => rank(a[0]) - rank(b[0]))) {
      const part = (height * amount) / all;
      if (colour) {
        pen.fillStyle = colours(colour);
        pen.fillRect(column, y, 1, part);
      }
      y += part;
    }
    held = new Map();
  };
  for (let place = from; place < to; place++) {
    const left = x(place);
    const next = place + 1 < to ? x(place + 1) : right;
    const width = Math.min(next - left, widest);
    const colour = colourOf(place);
    if (width >= 1) {
      if (held.size) flush();
      if (!colour) continue;
      pen.fillStyle = colours(colour);
      pen.fillRect(left, top, width >= 4 ? width - 1 : width + 0.3, height);
      continue;
    }
    if (held.size && Math.floor(left) !== column) flush();
    column = Math.floor(left);
    held.set(colour, (held.get(colour) ?? 0) + 1);
  }
  if (held.size) flush();
}
