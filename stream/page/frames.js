// Counts the pictures that this browser really decoded, and when the last one came.

const WINDOW_MS = 3000; // long enough for a steady number, short enough to see a stutter

/** What arrives at one <video>: counts over the page's life, rates over the last seconds. */
export class FrameWatch {
  constructor(video) {
    this.video = video;
    this.decoded = 0; // over all sessions of this page
    this.firstFrameMs = null; // since navigation; null before the first picture
    this.lastFrameAt = null; // performance.now(); null when this session has had no picture
    this.jitterBufferMs = null; // mean time a picture waited in the browser's jitter buffer; null when unknown
    this.lostShare = null; // packets lost in the window, 0..1; null when unknown
    this.samples = []; // {at, decoded, lost, received, buffered, emitted}, newest last
    this.sessionDecoded = 0;
    this.onPainted = () => {}; // called with what the browser says of each painted picture
    this.isAttached = false; // the video shows this session's track, not the last picture of the one before
    this.#watchPainted();
  }

  /** Start again for a new session. */
  reset() {
    this.lastFrameAt = null;
    this.jitterBufferMs = null;
    this.lostShare = null;
    this.samples = [];
    this.sessionDecoded = 0;
    this.isAttached = false;
  }

  /** Count painted pictures from here on: the new session's track is in the video. */
  attach() {
    this.isAttached = true;
  }

  /** Read the peer connection's statistics; called about twice a second. */
  async measure(peer) {
    const inbound = [...(await peer.getStats()).values()].find(
      (one) => one.type === "inbound-rtp" && one.kind === "video",
    );
    if (!inbound || peer.signalingState === "closed") return;
    const now = performance.now();
    const decoded = inbound.framesDecoded ?? 0;
    if (decoded > this.sessionDecoded) this.#saw(now);
    this.decoded += Math.max(0, decoded - this.sessionDecoded);
    this.sessionDecoded = decoded;
    this.#keep({
      at: now,
      decoded,
      lost: inbound.packetsLost ?? 0,
      received: inbound.packetsReceived ?? 0,
      buffered: inbound.jitterBufferDelay ?? 0,
      emitted: inbound.jitterBufferEmittedCount ?? 0,
    });
  }

  /** Decoded pictures per second; null before two samples, and once nothing is measured any more. */
  get fps() {
    const [first, last] = [this.samples[0], this.samples.at(-1)];
    if (!first || last.at - first.at < 400 || performance.now() - last.at > WINDOW_MS) return null;
    return ((last.decoded - first.decoded) * 1000) / (last.at - first.at);
  }

  /** Milliseconds since the last picture of this session; null when there was none yet. */
  get silenceMs() {
    return this.lastFrameAt === null ? null : performance.now() - this.lastFrameAt;
  }

  #keep(sample) {
    this.samples.push(sample);
    while (this.samples[0].at < sample.at - WINDOW_MS) this.samples.shift();
    const first = this.samples[0];
    const emitted = sample.emitted - first.emitted;
    this.jitterBufferMs = emitted > 0 ? ((sample.buffered - first.buffered) * 1000) / emitted : null;
    const lost = Math.max(0, sample.lost - first.lost);
    const expected = lost + sample.received - first.received;
    this.lostShare = expected > 0 ? lost / expected : null;
  }

  #saw(now) {
    this.lastFrameAt = now;
    this.firstFrameMs ??= now;
  }

  /** A painted picture is the earliest sign; statistics remain the only one while the tab is hidden. */
  #watchPainted() {
    if (!("requestVideoFrameCallback" in HTMLVideoElement.prototype)) return;
    const painted = (_now, metadata) => {
      if (this.isAttached) {
        this.#saw(performance.now());
        this.onPainted(metadata);
      }
      this.video.requestVideoFrameCallback(painted);
    };
    this.video.requestVideoFrameCallback(painted);
  }
}
