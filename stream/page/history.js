// The last minute of one stream, one sample a second: for the chart and for "right now" numbers.
import { wholeWay } from "/page/texts.js";

const KEEP_MS = 62000; // the chart shows 60 s
const RECENT_MS = 10000; // "right now": long enough for a steady share, short enough to follow a change

/** Samples of one stream, oldest first. */
export class History {
  constructor() {
    this.samples = []; // {at, p50, p95, shown, frames, dropped, causes}
  }

  /** Add what one answer of the server says about the stream. */
  add(stream, now) {
    const last = this.samples.at(-1);
    const frames = stream.frames ?? {};
    if (last && (frames.captured ?? 0) < last.frames.captured) this.samples = []; // the server started again: counts begin anew
    const latency = wholeWay(stream.latency_ms).total;
    this.samples.push({
      at: now,
      p50: latency?.p50 ?? null,
      p95: latency?.p95 ?? null,
      shown: stream.fps?.shown ?? null,
      frames: { captured: frames.captured ?? 0, on_time: frames.on_time ?? 0, late: frames.late ?? 0 },
      dropped: { ...frames.dropped },
      causes: { ...stream.causes },
    });
    while (this.samples[0].at < now - KEEP_MS) this.samples.shift();
  }

  /** Share of the pictures shown in the last seconds that were on time, 0..1; null when none were shown. */
  onTimeShare() {
    const [first, last] = this.#recent();
    if (!last) return null;
    const total = last.frames;
    const since = { on_time: total.on_time - first.frames.on_time, late: total.late - first.frames.late };
    const chosen = first === last ? total : since; // one sample: the totals are all there is
    const shown = chosen.on_time + chosen.late;
    return shown > 0 ? chosen.on_time / shown : null;
  }

  /** How many more per second of one count in the last seconds; `kind` is "dropped" or "causes". 0 when none. */
  rateOf(kind, key) {
    const [first, last] = this.#recent();
    if (!last || last.at - first.at < 500) return 0;
    const more = (last[kind][key] ?? 0) - (first[kind][key] ?? 0);
    return Math.max(0, (more * 1000) / (last.at - first.at));
  }

  #recent() {
    const last = this.samples.at(-1);
    if (!last) return [];
    return [this.samples.find((sample) => sample.at >= last.at - RECENT_MS), last];
  }
}
