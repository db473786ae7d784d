// The minute chart: latency above (p50 and p95 against the budget), shown fps below, one time axis.

const SPAN_MS = 60000;
const GAP_MS = 3500; // no sample for this long: the line breaks instead of pretending
const LEFT = 34; // room for the numbers of the axis, CSS pixels
const RIGHT = 6;
const LATENCY_LANE = { top: 0.09, height: 0.52 }; // shares of the canvas height; above each lane is its title
const FPS_LANE = { top: 0.75, height: 0.16 };

/**
 * Draw the chart into a canvas at its CSS size.
 * @param {HTMLCanvasElement} canvas
 * @param {{samples: Array<Object>, budgetMs: number, capturedFps: ?number, now: number}} data
 */
export function drawChart(canvas, { samples, budgetMs, capturedFps, now }) {
  const pen = penFor(canvas);
  if (!pen) return; // not laid out: nothing to draw on
  const { ctx, width, height, color } = pen;
  const x = (at) => width - RIGHT - ((now - at) / SPAN_MS) * (width - LEFT - RIGHT);
  const latency = lane(
    height * LATENCY_LANE.top,
    height * LATENCY_LANE.height,
    ceiling(
      budgetMs * 1.2,
      samples.map((one) => one.p95),
    ),
  );
  const fps = lane(
    height * FPS_LANE.top,
    height * FPS_LANE.height,
    ceiling(
      (capturedFps ?? 0) * 1.15 || 30,
      samples.map((one) => one.shown),
    ),
  );

  overBudget(pen, latency, budgetMs);
  axis(pen, latency, [0, budgetMs], "latency, ms");
  axis(pen, fps, [0, Math.round(capturedFps || fps.max)], "shown, fps");
  timeAxis(pen);
  const seen = samples.filter((one) => one.at >= now - SPAN_MS);
  for (const run of runs(seen, (one) => one.p95 !== null)) {
    band(ctx, run, x, latency, color("--p95-fill"));
    line(
      ctx,
      run.map((one) => [x(one.at), latency.y(one.p95)]),
      color("--p95"),
      1.75,
    );
    line(
      ctx,
      run.map((one) => [x(one.at), latency.y(one.p50)]),
      color("--p50"),
      1.75,
    );
  }
  for (const run of runs(seen, (one) => one.shown !== null))
    line(
      ctx,
      run.map((one) => [x(one.at), fps.y(one.shown)]),
      color("--fps"),
      1.75,
    );
  line(
    ctx,
    [
      [LEFT, latency.y(budgetMs)],
      [width - RIGHT, latency.y(budgetMs)],
    ],
    color("--budget"),
    1.25,
    [4, 4],
  );
}

function penFor(canvas) {
  const { clientWidth: width, clientHeight: height } = canvas;
  if (!width || !height) return null;
  const scale = window.devicePixelRatio || 1;
  if (canvas.width !== Math.round(width * scale) || canvas.height !== Math.round(height * scale)) {
    canvas.width = Math.round(width * scale);
    canvas.height = Math.round(height * scale);
  }
  const ctx = canvas.getContext("2d");
  ctx.setTransform(scale, 0, 0, scale, 0, 0);
  ctx.clearRect(0, 0, width, height);
  const style = getComputedStyle(canvas); // colours live in the style sheet, so both themes work
  return { ctx, width, height, color: (name) => style.getPropertyValue(name).trim(), font: style.fontFamily };
}

function lane(top, height, max) {
  return { top, bottom: top + height, max, y: (value) => top + height * (1 - Math.min(value, max) / max) };
}

/** A calm upper end: at least `least`, else a step above the largest value, so that the scale seldom moves. */
function ceiling(least, values) {
  const largest = Math.max(least, ...values.filter((value) => value !== null).map((value) => value * 1.08));
  const step = 10 ** Math.floor(Math.log10(largest)) / 2;
  return Math.ceil(largest / step) * step;
}

function overBudget({ ctx, width, color }, latency, budgetMs) {
  ctx.fillStyle = color("--over-fill");
  ctx.fillRect(LEFT, latency.top, width - LEFT - RIGHT, latency.y(budgetMs) - latency.top);
}

function axis(pen, place, values, title) {
  const { ctx, width, color } = pen;
  for (const value of values) write(pen, String(value), LEFT - 7, place.y(value), "right");
  write(pen, title, LEFT, place.top - 9, "left");
  line(
    ctx,
    [
      [LEFT, place.bottom],
      [width - RIGHT, place.bottom],
    ],
    color("--line"),
    1,
  );
}

function timeAxis(pen) {
  write(pen, "60 s ago", LEFT, pen.height - 6, "left");
  write(pen, "now", pen.width - RIGHT, pen.height - 6, "right");
}

function write({ ctx, color, font }, text, x, y, align) {
  ctx.font = `11px ${font}`;
  ctx.textAlign = align;
  ctx.textBaseline = "middle";
  ctx.fillStyle = color("--muted");
  ctx.fillText(text, x, y);
}

/** Split samples where one is missing or a value is unknown. */
function runs(samples, isKnown) {
  const found = [];
  let previous = null;
  for (const sample of samples) {
    if (!isKnown(sample)) previous = null;
    else if (previous && sample.at - previous.at < GAP_MS) found.at(-1).push(sample);
    else found.push([sample]);
    if (isKnown(sample)) previous = sample;
  }
  return found;
}

function band(ctx, run, x, place, fill) {
  ctx.beginPath();
  run.forEach((one) => ctx.lineTo(x(one.at), place.y(one.p95)));
  [...run].reverse().forEach((one) => ctx.lineTo(x(one.at), place.y(one.p50)));
  ctx.closePath();
  ctx.fillStyle = fill;
  ctx.fill();
}

function line(ctx, points, stroke, thickness, dash = []) {
  ctx.beginPath();
  points.forEach(([px, py]) => ctx.lineTo(px, py));
  ctx.strokeStyle = stroke;
  ctx.lineWidth = thickness;
  ctx.lineJoin = "round";
  ctx.lineCap = "round";
  ctx.setLineDash(dash);
  ctx.stroke();
  ctx.setLineDash([]);
}
