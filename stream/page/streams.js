// Asks the server once a second how its streams do. One request at a time, each with a time-out.
import { backoffMs } from "/page/backoff.js";

const EVERY_MS = 1000;
const TIMEOUT_MS = 4000;

/**
 * The poll of /api/streams.
 * `onAnswer(status)` gets each parsed answer, `onFailure({reason, attempt, retryAt})` each failure;
 * reason is "unreachable", "timeout", "unauthorized" or "broken" (an answer that is not ours).
 */
export class StreamsPoll {
  constructor({ onAnswer, onFailure, headers }) {
    this.onAnswer = onAnswer;
    this.onFailure = onFailure;
    this.headers = headers; // function returning the request headers, so that a new token is used at once
    this.failures = 0; // in a row
    this.timer = null; // null while a request runs or the poll is stopped
    this.isAsking = false;
    this.isStopped = true;
  }

  start() {
    this.isStopped = false;
    this.askNow();
  }

  stop() {
    this.isStopped = true;
    clearTimeout(this.timer);
  }

  /** Ask at once, unless a request is already on its way. */
  askNow() {
    if (this.isAsking || this.isStopped) return;
    clearTimeout(this.timer);
    this.#ask();
  }

  async #ask() {
    this.isAsking = true;
    let waitMs = EVERY_MS;
    try {
      const status = await fetchStatus(this.headers());
      this.failures = 0;
      this.onAnswer(status);
    } catch (error) {
      if (!error.reason) throw error; // ours: a bug in the page must show in the console, not as "server gone"
      this.failures += 1;
      waitMs = backoffMs(this.failures);
      this.onFailure({ reason: error.reason, attempt: this.failures, retryAt: performance.now() + waitMs });
    } finally {
      this.isAsking = false;
      if (!this.isStopped) this.timer = setTimeout(() => this.askNow(), waitMs);
    }
  }
}

/** Fetch and parse one status; throws an Error with a `reason`. */
async function fetchStatus(headers) {
  const abort = new AbortController();
  const timer = setTimeout(() => abort.abort(), TIMEOUT_MS);
  try {
    const answer = await fetch("/api/streams", { headers, signal: abort.signal, cache: "no-store" });
    if (answer.status === 401 || answer.status === 403) throw failure("unauthorized");
    if (!answer.ok) throw failure("unreachable"); // a proxy in front answers 502 while the server restarts
    return parseStatus(await answer.text());
  } catch (error) {
    if (error.reason) throw error;
    throw failure(error.name === "AbortError" ? "timeout" : "unreachable");
  } finally {
    clearTimeout(timer);
  }
}

function parseStatus(text) {
  let status;
  try {
    status = JSON.parse(text);
  } catch {
    throw failure("broken");
  }
  if (!Array.isArray(status?.streams)) throw failure("broken");
  return status;
}

function failure(reason) {
  return Object.assign(new Error(`/api/streams: ${reason}`), { reason });
}
