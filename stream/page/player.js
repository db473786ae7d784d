// Keeps one stream playing in one <video>: opens WHEP sessions, notices when they die or fall silent, opens new ones.
import { backoffMs } from "/page/backoff.js";
import { FrameWatch } from "/page/frames.js";
import { WhepError, canWebRtc, openSession } from "/page/whep.js";

const TICK_MS = 500;
const DISCONNECTED_MS = 3000; // ICE often heals by itself sooner; from here on a new session is quicker
const CONNECT_MS = 10000; // an answer came but no path for the media: most likely a firewall
const SILENT_MS = 5000; // a running source sends pictures; when none come for this long, the session is dead

/**
 * The player. `phase` is one of
 *   idle         nothing is selected
 *   held         waiting for the server or the source; nothing is tried
 *   opening      a session is being opened, no picture yet
 *   playing      pictures have arrived
 *   tap          the browser wants a tap before it plays
 *   retrying     the last try failed for `failure.reason`; the next one is at `failure.retryAt`
 *   unsupported  this browser has no WebRTC
 */
export class Player {
  constructor(video, { headers, onChange }) {
    this.video = video;
    this.headers = headers; // function returning request headers
    this.onChange = onChange;
    this.frames = new FrameWatch(video);
    this.name = null; // the selected stream; null when none
    this.phase = canWebRtc() ? "idle" : "unsupported";
    this.failure = null; // {reason, message, attempt, retryAt}; null unless retrying
    this.session = null; // null unless a session is open
    this.isPermitted = false; // the server answers and the source has pictures
    this.attempts = 0; // failed in a row
    this.abort = null; // ends the opening under way; null before the first
    this.retryTimer = null;
    this.openedAt = 0; // performance.now() of the last opening
    this.disconnectedAt = null; // null while the peer connection is well
    setInterval(() => this.#tick(), TICK_MS);
    this.frames.onPainted = (metadata) => this.session?.timing?.painted(metadata);
    video.addEventListener("loadeddata", () => this.#tick());
    video.addEventListener("playing", () => this.phase === "tap" && this.#become("playing"));
  }

  /** Connection state in WebRTC's words; "none" without a session. */
  get connection() {
    return this.session?.peer.connectionState ?? "none";
  }

  /** Play this stream instead of the one before; null stops. */
  select(name) {
    if (name === this.name) return;
    this.#end();
    this.name = name;
    this.video.srcObject = null;
    this.frames.reset();
    this.attempts = 0;
    if (this.phase === "unsupported") return;
    if (name === null) this.#become("idle");
    else this.#openWhenPermitted();
  }

  /** Say whether opening a session can succeed now. A session that runs is left running. */
  permit(isPermitted) {
    const wasPermitted = this.isPermitted;
    this.isPermitted = isPermitted;
    if (this.name === null || wasPermitted === isPermitted || this.phase === "unsupported") return;
    if (isPermitted && !this.#isLive()) this.retryNow();
    if (!isPermitted && this.phase === "retrying") this.#openWhenPermitted();
  }

  /** Open a new session without waiting any longer. */
  retryNow() {
    if (this.name === null || this.phase === "unsupported") return;
    this.attempts = 0;
    this.#openWhenPermitted();
  }

  /** Play after a tap: browsers allow it inside the click. */
  tap() {
    this.video.play().then(
      () => this.#become("playing"),
      () => {},
    );
  }

  /** End the session, also on the server, while the page goes away. */
  leave() {
    this.#end();
    this.name = null;
  }

  #become(phase, failure = null) {
    this.phase = phase;
    this.failure = failure;
    this.onChange();
  }

  #isLive() {
    const silenceMs = this.frames.silenceMs;
    return this.session !== null && silenceMs !== null && silenceMs < 1000;
  }

  #end() {
    this.abort?.abort();
    clearTimeout(this.retryTimer);
    this.session?.close();
    this.session = null;
    this.disconnectedAt = null;
  }

  #openWhenPermitted() {
    clearTimeout(this.retryTimer);
    if (this.isPermitted) this.#open();
    else this.#become("held");
  }

  async #open() {
    this.#end();
    this.frames.reset();
    this.openedAt = performance.now();
    const abort = new AbortController();
    this.abort = abort;
    this.#become("opening");
    const onTrack = (event) => abort.signal.aborted || this.#show(event);
    try {
      this.session = await openSession(this.name, { headers: this.headers(), signal: abort.signal, onTrack });
    } catch (error) {
      if (!abort.signal.aborted) this.#fail(reasonOf(error), error.message, error.retryAfterMs);
      return;
    }
    const { peer } = this.session;
    peer.addEventListener("connectionstatechange", () => this.#peerChanged(peer));
    this.#peerChanged(peer);
  }

  #show(event) {
    this.video.srcObject = event.streams[0] ?? new MediaStream([event.track]);
    this.frames.attach();
    event.track.addEventListener("ended", () => this.#peerChanged(this.session?.peer));
    this.video.play().catch((error) => {
      if (error.name === "NotAllowedError") this.#become("tap");
    });
  }

  #peerChanged(peer) {
    if (!peer || peer !== this.session?.peer) return;
    const state = peer.connectionState;
    if (state === "failed" || state === "closed") return this.#fail(this.#lossReason(), "");
    this.disconnectedAt = state === "disconnected" ? (this.disconnectedAt ?? performance.now()) : null;
    this.onChange();
  }

  /** A connection that never carried a picture was blocked; one that did was lost. */
  #lossReason() {
    return this.frames.lastFrameAt === null ? "blocked" : "lost";
  }

  #fail(reason, message, retryAfterMs = null) {
    this.#end();
    this.attempts += 1;
    if (!this.isPermitted) return this.#become("held"); // trying is pointless until the server or the source is back
    const waitMs = Math.max(backoffMs(this.attempts), retryAfterMs ?? 0);
    this.retryTimer = setTimeout(() => this.#openWhenPermitted(), waitMs);
    this.#become("retrying", { reason, message, attempt: this.attempts, retryAt: performance.now() + waitMs });
  }

  async #tick() {
    const session = this.session;
    if (!session) return;
    await this.frames.measure(session.peer);
    if (session !== this.session) return; // it ended while the statistics were read
    const isWaiting = this.phase === "opening" || this.phase === "held";
    if (isWaiting && this.frames.lastFrameAt !== null) {
      this.attempts = 0;
      this.#become("playing");
    }
    this.#checkSession();
    this.onChange();
  }

  /** Give up a session that is disconnected, cannot connect, or is silent though the source runs. */
  #checkSession() {
    const now = performance.now();
    const sinceOpenMs = now - this.openedAt;
    if (this.disconnectedAt !== null && now - this.disconnectedAt > DISCONNECTED_MS) return this.#fail("lost", "");
    if (this.connection !== "connected" && sinceOpenMs > CONNECT_MS) return this.#fail(this.#lossReason(), "");
    const silenceMs = this.frames.silenceMs ?? sinceOpenMs - SILENT_MS; // a first picture gets twice the time
    if (this.isPermitted && silenceMs > SILENT_MS) this.#fail("silent", "");
  }
}

function reasonOf(error) {
  if (!(error instanceof WhepError)) return "setup";
  const byStatus = {
    0: "unreachable",
    401: "unauthorized",
    403: "unauthorized",
    404: "unknown",
    409: "not_live",
    503: "busy",
  };
  return byStatus[error.status] ?? "refused";
}
