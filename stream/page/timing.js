// When each picture was really on screen, on the server's clock, and how long that was after its capture.

const PING_FAST_MS = 200; // while the first few answers are collected
const PING_MS = 2000; // afterwards: clocks drift by some 50 microseconds a second
const FAST_PINGS = 5;
const SAMPLE_LIFE_MS = 60000; // an old answer says nothing of today's drift
const REPORT_MS = 500;
const REPORTS_AT_MOST = 100; // in one message; the server takes 120
const FRAMES_KEPT = 300; // messages whose picture has not been shown; ten seconds
const SHOWN_KEPT = 150; // for the numbers on the page; five seconds
const TICKS = 2 ** 32; // RTP timestamps wrap here (RFC 3550 section 5.1)

/** The difference between this clock and the server's, as in NTP: the quickest answer is the truest (RFC 5905). */
export class ServerClock {
  constructor() {
    this.samples = []; // {at, rttMs, offsetMs}, within SAMPLE_LIFE_MS
  }

  /** Take an answer: sent and received here, `serverMs` there. */
  add(sentAt, receivedAt, serverMs) {
    const rttMs = receivedAt - sentAt;
    if (!(rttMs >= 0) || !Number.isFinite(serverMs)) return;
    this.samples.push({ at: receivedAt, rttMs, offsetMs: serverMs - (sentAt + rttMs / 2) });
    this.samples = this.samples.filter((one) => one.at > receivedAt - SAMPLE_LIFE_MS);
  }

  /** What to add to performance.now(); null before the first answer. */
  get offsetMs() {
    if (!this.samples.length) return null;
    return this.samples.reduce((best, one) => (one.rttMs < best.rttMs ? one : best)).offsetMs;
  }
}

/** One session's reports. `painted` is to be called for every picture, with what requestVideoFrameCallback says of it. */
export class ScreenTiming {
  constructor(channel) {
    this.clock = new ServerClock();
    this.channel = channel;
    this.origin = null; // of the RTP timestamps on the wire; null before the hello
    this.frames = new Map(); // rtp -> {seq, captured_ms, results}; of pictures that are still to come
    this.current = null; // what is known of the picture on screen; null when nothing is
    this.shownMs = []; // capture to screen, the newest last
    this.unknown = 0; // pictures of which nothing was told
    this.reports = [];
    this.pings = 0;
    channel.addEventListener("message", (event) => this.#received(event.data));
    channel.addEventListener("open", () => this.#ping());
    this.reportTimer = setInterval(() => this.#report(), REPORT_MS);
  }

  close() {
    clearInterval(this.reportTimer);
    clearTimeout(this.pingTimer);
  }

  /** Note a painted picture; `metadata` is VideoFrameCallbackMetadata. */
  painted(metadata) {
    if (this.origin === null || metadata.rtpTimestamp === undefined) return;
    const rtp = (metadata.rtpTimestamp - this.origin + TICKS) % TICKS;
    const frame = [0, 1, -1].map((tick) => this.frames.get((rtp + tick + TICKS) % TICKS)).find(Boolean) ?? null;
    this.current = frame;
    if (!frame) {
      this.unknown += 1;
      return;
    }
    const offset = this.clock.offsetMs;
    if (offset === null) return;
    const shownAt = metadata.expectedDisplayTime + offset;
    this.shownMs.push(shownAt - frame.captured_ms);
    if (this.shownMs.length > SHOWN_KEPT) this.shownMs.shift();
    this.reports.push([frame.seq, Math.round(shownAt * 100) / 100]);
  }

  /** Median from capture to this screen; null when unknown. */
  get p50Ms() {
    if (!this.shownMs.length) return null;
    return [...this.shownMs].sort((a, b) => a - b)[Math.floor(this.shownMs.length / 2)];
  }

  #received(text) {
    const message = JSON.parse(text);
    if (message.type === "hello") this.origin = message.rtp_origin;
    else if (message.type === "pong") this.clock.add(message.t, performance.now(), message.server_ms);
    else if (message.type === "frame" && message.rtp !== null) this.#keep(message);
  }

  #keep(message) {
    this.frames.set(message.rtp % TICKS, message);
    if (this.frames.size > FRAMES_KEPT) this.frames.delete(this.frames.keys().next().value);
  }

  #ping() {
    if (this.channel.readyState !== "open") return;
    this.pings += 1;
    this.channel.send(JSON.stringify({ type: "ping", t: performance.now() }));
    this.pingTimer = setTimeout(() => this.#ping(), this.pings < FAST_PINGS ? PING_FAST_MS : PING_MS);
  }

  #report() {
    if (!this.reports.length || this.channel.readyState !== "open") return;
    this.channel.send(JSON.stringify({ type: "shown", frames: this.reports.splice(0, REPORTS_AT_MOST) }));
  }
}
