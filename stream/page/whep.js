// One WHEP session (draft-ietf-wish-whep): an offer goes out by POST, the answer comes back, DELETE ends it.

import { ScreenTiming } from "/page/timing.js";

const POST_TIMEOUT_MS = 10000;

/** The server's refusal: `status` is its HTTP status (0 when it did not answer), `retryAfterMs` null when not said. */
export class WhepError extends Error {
  constructor(message, status, retryAfterMs = null) {
    super(message);
    this.status = status;
    this.retryAfterMs = retryAfterMs;
  }
}

/** True when this browser can play WebRTC at all (some builds and extensions remove it). */
export function canWebRtc() {
  return typeof RTCPeerConnection === "function" && typeof MediaStream === "function";
}

/** A running session: its peer connection and the address that ends it. */
export class WhepSession {
  constructor(peer, address, headers, timing = null) {
    this.peer = peer;
    this.timing = timing; // ScreenTiming; null for a session that only sends
    this.address = address; // null when the server gave none
    this.headers = headers;
  }

  /** End the session here and on the server. `keepalive` lets the DELETE outlive a page that is closing. */
  close() {
    this.timing?.close();
    this.peer.close();
    if (!this.address) return;
    fetch(this.address, { method: "DELETE", headers: this.headers, keepalive: true }).catch(() => {}); // it may be gone already
    this.address = null;
  }
}

/**
 * Open a session and return it once the answer is set; pictures follow when ICE connects.
 * @param {string} name stream name, any text
 * @param {{headers: Object, signal: AbortSignal, onTrack: function(RTCTrackEvent): void}} options
 * @throws {WhepError} when the server refuses or does not answer; AbortError when `signal` fired
 */
export async function openSession(name, { headers, signal, onTrack }) {
  const peer = new RTCPeerConnection({ iceServers: [], bundlePolicy: "max-bundle" });
  const timing = new ScreenTiming(peer.createDataChannel("livelens"));
  let session = new WhepSession(peer, null, headers, timing);
  try {
    peer.addEventListener("track", onTrack);
    askForLowDelay(peer.addTransceiver("video", { direction: "recvonly" }).receiver);
    await peer.setLocalDescription(await peer.createOffer());
    // The offer goes out at once, without candidates: the answer has all of the server's, and the checks that this side
    // sends show where it is (peer-reflexive, RFC 8445 section 7.3.1.3). Waiting for them cost 150 ms of each start.
    const url = new URL(`/whep/${encodeURIComponent(name)}`, location.href);
    const { answer, address } = await post(url, peer.localDescription.sdp, headers, signal);
    session = new WhepSession(peer, address, headers, timing);
    signal.throwIfAborted();
    await peer.setRemoteDescription({ type: "answer", sdp: answer });
    signal.throwIfAborted();
    return session;
  } catch (error) {
    session.close();
    throw error;
  }
}

/** Ask the browser to hold no more pictures back than it must; not every browser knows the wish. */
function askForLowDelay(receiver) {
  try {
    if ("jitterBufferTarget" in receiver) receiver.jitterBufferTarget = 0;
    else if ("playoutDelayHint" in receiver) receiver.playoutDelayHint = 0;
  } catch {
    // the wish is refused: the default delay plays as well
  }
}

/**
 * Send an offer and return the answer, and the address that ends the session; WHIP does the same.
 * @throws {WhepError} when the server refuses or does not answer; AbortError when `signal` fired
 */
export async function post(url, offer, headers, signal) {
  const limit = AbortSignal.any([signal, AbortSignal.timeout(POST_TIMEOUT_MS)]);
  const request = {
    method: "POST",
    body: offer,
    headers: { ...headers, "Content-Type": "application/sdp" },
    signal: limit,
  };
  let answer;
  let body;
  try {
    answer = await fetch(url, request);
    body = await answer.text();
  } catch (error) {
    signal.throwIfAborted();
    throw new WhepError(`no answer from the server (${error.message})`, 0);
  }
  if (answer.status !== 201) throw new WhepError(errorLine(body, answer.status), answer.status, retryAfterMs(answer));
  const place = answer.headers.get("Location");
  return { answer: body, address: place ? new URL(place, answer.url) : null };
}

/** The server's own words, when it gave some: `{"error": "one clear line"}`. */
function errorLine(body, status) {
  try {
    const { error } = JSON.parse(body);
    if (typeof error === "string" && error) return error;
  } catch {
    // not JSON: a proxy's page is of no use to a viewer
  }
  return `the server answered ${status}`;
}

function retryAfterMs(answer) {
  const value = Number(answer.headers.get("Retry-After") ?? NaN);
  return Number.isFinite(value) && value >= 0 ? Math.min(value, 30) * 1000 : null;
}
