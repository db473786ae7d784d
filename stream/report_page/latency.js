// How long frames took: a histogram with the budget and the quantiles.

const LABELS = 62; // px above the bars: one line of text for each mark, so that they never meet

function latencyBins(ages, highest, wanted) {
  const bins = new Array(wanted).fill(0);
  for (const age of ages) bins[Math.min(wanted - 1, Math.floor((age / highest) * wanted))] += 1;
  return bins;
}

function drawLatency(pen, width, height, colour) {
  const ages = frames.age_ms.filter((age) => age !== null);
  const latency = summary.latency_ms.capture_to_send;
  const highest = Math.max(budget * 1.15, latency.p99 * 1.15);
  const floor = height - 22;
  const bins = latencyBins(ages, highest, Math.round(Math.max(12, Math.min(width / 7, 2 * Math.sqrt(ages.length) + 10))));
  const most = Math.max(...bins);
  const step = width / bins.length;
  const x = (value) => (value / highest) * width;
  bins.forEach((amount, place) => {
    if (!amount) return;
    const tall = Math.max(2, ((floor - LABELS) * amount) / most);
    pen.fillStyle = colour((place + 0.5) * (highest / bins.length) > budget ? "--late" : "--on-time");
    pen.fillRect(place * step, floor - tall, Math.max(1, step - 1), tall);
  });
  line(pen, 0, floor, width, floor, colour("--muted"));
  for (const value of ticks(0, highest, width / 90)) {
    if (x(value) < width - 34) write(pen, value ? `${value}` : "0 ms", x(value), height - 5, colour("--muted"), value ? "center" : "left");
  }
  const beyond = ages.filter((age) => age >= highest).length;
  if (beyond) write(pen, `${plural(beyond, "frame")} beyond`, width, floor - 20, colour("--muted"), "right");
  const marks = [["budget", budget, "--budget"], ["p50", latency.p50, "--p50"], ["p95", latency.p95, "--p95"], ["p99", latency.p99, "--p99"]];
  marks.forEach(([, value, tint], row) => line(pen, x(value), 3 + row * 15, x(value), floor, colour(tint), row ? 1.5 : 2));
  marks.forEach(([name, value, tint], row) => drawLabel(pen, x(value), row, `${name} ${ms(value)}`, width, colour(tint), colour("--surface")));
}

// On a ground of its own: on a phone the lines of other marks run through it.
function drawLabel(pen, x, row, text, width, colour, ground) {
  const y = 12 + row * 15;
  const isRight = x > width - 90;
  pen.font = pen.font.replace(/^(bold )?/, "bold ");
  const wide = pen.measureText(text).width;
  pen.fillStyle = ground;
  pen.fillRect(isRight ? x - wide - 7 : x + 3, y - 11, wide + 4, 14);
  write(pen, text, x + (isRight ? -5 : 5), y, colour, isRight ? "right" : "left");
}

function startLatency() {
  const latency = summary.latency_ms.capture_to_send;
  if (latency.p50 === undefined) return byId("latency").replaceWith(nothing("No frame was sent."));
  const text = `p50 ${ms(latency.p50)}, p95 ${ms(latency.p95)}, p99 ${ms(latency.p99)}, max ${ms(latency.max)} ms; budget ${ms(budget)} ms`;
  byId("latency-note").textContent = text;
  byId("latency").setAttribute("aria-label", `Histogram of ${plural(frames.age_ms.filter((age) => age !== null).length, "frame")}: ${text}`);
  chart(byId("latency"), drawLatency);
}
