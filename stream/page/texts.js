// Every sentence the page says. Pure: facts in, words out.
import { ms, seconds, wholePercent } from "/page/numbers.js";

const DROP_WORDS = {
  superseded: "replaced by a newer frame",
  no_time: "could not finish in time",
  encoder_busy: "the encoder was still busy",
  warming: "models were warming up, not counted",
  refused: "the stream was refused",
  out_of_order: "came after a newer one",
  model_error: "a model failed on it",
  stuck: "a model did not come back",
  encoder_error: "could not be encoded",
  decode_error: "could not be decoded",
  stopped: "the stream was stopped",
};

const STEP_WORDS = {
  decode: "Decode",
  queue: "Queue",
  wait: "Wait",
  models: "Models",
  hand_over: "To encoder",
  compose: "Compose",
  encode: "Encode",
  send: "Send",
  screen: "To screen",
};

const CAUSE_WORDS = {
  source: "the source sends in bursts",
  decode: "decoding is slow",
  waiting: "they wait for their turn",
  model: "models take too long",
  encode: "drawing or encoding is slow",
  network: "the network is slow",
  viewer: "a viewer takes its packets too slowly",
};

const STATE_WORDS = {
  connecting: "Connecting",
  running: "Running",
  stalled: "Stalled",
  retrying: "Retrying",
  error: "Stopped",
  finished: "Finished",
  waiting: "Waiting",
};

const KIND_WORDS = { generate: "draws the picture", recognize: "finds things" };

const own = (table, key) => (Object.hasOwn(table, key) ? table[key] : undefined);

/** Plain words for why a frame was dropped; an unknown reason is shown as it is. */
export const dropWords = (reason) => own(DROP_WORDS, reason) ?? reason;

/** Plain words for what kept frames from being shown in time and whole; an unknown cause is shown as it is. */
export const causeWords = (cause) => own(CAUSE_WORDS, cause) ?? cause;

/** A step's name. */
export const stepWords = (step) => own(STEP_WORDS, step) ?? step;

/** What a stage does. */
export const kindWords = (kind) => own(KIND_WORDS, kind) ?? kind ?? "";

/** What runs a stage: "openvino bf16" of "openvino bf16, scale=0.5". */
export function baseVariant(variant, ladder) {
  const best = ladder[0]?.variant;
  return best && variant?.startsWith(`${best}, `) ? best : variant;
}

/** A variant as a newcomer understands it: "full", "half size", "320 px"; options of people's own as they are. */
export function variantWords(variant, ladder, index = ladder.findIndex((rung) => rung.variant === variant)) {
  if (index === 0) return "full";
  const best = ladder[0]?.variant;
  const options = best && variant?.startsWith(`${best}, `) ? variant.slice(best.length + 2) : (variant ?? "");
  const [, key, value] = /^(scale|size)=(\d+(?:\.\d+)?)$/.exec(options) ?? [];
  if (key === "scale") return Number(value) === 0.5 ? "half size" : `${wholePercent(Number(value))} % size`;
  return key === "size" ? `${value} px` : options;
}

/** A change of variant in words, and whether it went to a lighter or a better one; direction "" when unknown. */
export function changeWords({ stage, before, after }, ladder) {
  const place = (variant) => ladder.findIndex((rung) => rung.variant === variant);
  const [from, to] = [place(before), place(after)];
  const direction = from < 0 || to < 0 || from === to ? "" : to > from ? "lighter" : "better";
  return { words: `${stage} to ${variantWords(after, ladder)}`, direction };
}

/** How long ago: "now", "12 s ago", "3 min ago", "2 h ago". */
export function agoWords(secondsAgo) {
  if (typeof secondsAgo !== "number") return "";
  if (secondsAgo < 1) return "now";
  if (secondsAgo < 60) return `${Math.floor(secondsAgo)} s ago`;
  return secondsAgo < 3600 ? `${Math.floor(secondsAgo / 60)} min ago` : `${Math.floor(secondsAgo / 3600)} h ago`;
}

/** The least quality asked for; "" when any will do. */
export const leastWords = (least) => (least > 0 ? `quality stays at ${wholePercent(least)} % or more` : "");

/** One word on how a stream does, and its tone: good, busy or bad. */
export function stateWords(stream) {
  const state = stream.source?.state ?? "unknown";
  if (stream.admission) return { words: "Refused", tone: "bad" };
  if (stream.problem && !stream.ready) return { words: "Stopped", tone: "bad" };
  if (!stream.ready && (state === "running" || state === "connecting")) return { words: "Warming up", tone: "busy" };
  const tone = { running: "good", stalled: "bad", retrying: "bad", error: "bad" }[state] ?? "busy";
  return { words: own(STATE_WORDS, state) ?? state, tone };
}

/** What is wrong with a stream that plays all the same: a model left out, or one that fails; "" when nothing is. */
export function trouble(stream) {
  if (!stream.ready) return "";
  if (stream.admission) return `Refused: ${sentence(stream.admission.reason ?? "")}`;
  if (stream.problem) return `A model is left out: ${sentence(stream.problem)}`;
  const failing = (stream.stages ?? []).find((stage) => stage.last_error);
  return failing ? `${failing.name} fails, and the picture is shown without it: ${sentence(failing.last_error)}` : "";
}

/** The sentence above the budget bar. */
export function verdict(latency, budgetMs) {
  const { total, steps, isToScreen } = wholeWay(latency);
  const p95 = total.p95;
  if (typeof p95 !== "number" || !budgetMs) return { words: "No finished frames yet", tone: "busy" };
  const doWhat = isToScreen ? "are on screen" : "leave";
  if (p95 <= budgetMs)
    return { words: `95 % of frames ${doWhat} within ${ms(p95)} of ${ms(budgetMs)} ms`, tone: "good" };
  const slowest = slowestStep(steps);
  const blame = slowest ? `; most of it: ${stepWords(slowest).toLowerCase()}` : "";
  return { words: `Slow frames are ${ms(p95 - budgetMs)} ms over the budget${blame}`, tone: "bad" };
}

/**
 * A frame's way as far as it is measured: to the screen when viewers report it, else to the last packet.
 * @param {?Object} latency `latency_ms` of a stream
 */
export function wholeWay(latency) {
  const isToScreen = Boolean(latency?.capture_to_shown);
  const steps = latency?.steps ?? {};
  return {
    isToScreen,
    total: (isToScreen ? latency.capture_to_shown : latency?.capture_to_send) ?? {},
    steps: isToScreen ? { ...steps, screen: latency.to_screen } : steps,
  };
}

/** The step with the largest typical time; null when none is known. */
export function slowestStep(steps = {}) {
  const known = Object.entries(steps).filter(([, one]) => one?.p50 > 0);
  return known.length ? known.reduce((worst, one) => (one[1].p50 > worst[1].p50 ? one : worst))[0] : null;
}

/**
 * What lies over the video, or null when the picture speaks for itself.
 * `clock` is the part that changes every second, kept apart so that screen readers are told once.
 * @param {{server: Object, stream: ?Object, wanted: ?string, streamCount: number, isSharing: boolean, player: Object,
 *   silenceMs: ?number, now: number}} view
 * @returns {?{kind: string, title: string, detail: string, clock?: string, action?: string, isBusy?: boolean}}
 */
export function overlayFor(view) {
  const { player, silenceMs } = view;
  if (player.phase === "unsupported") return UNSUPPORTED;
  if (view.server.state === "unauthorized" || player.failure?.reason === "unauthorized") return UNAUTHORIZED;
  const hasFreshPicture = silenceMs !== null && silenceMs < 2000 && player.hasSession;
  if (view.server.state === "down" && !hasFreshPicture) return serverGone(view);
  if (view.server.state === "asking") return { kind: "asking", title: "Looking for streams", detail: "", isBusy: true };
  if (view.server.state === "up") {
    const problem = streamProblem(view);
    if (problem) return problem;
  }
  if (player.phase === "tap")
    return {
      kind: "tap",
      title: "Ready to play",
      detail: "The browser wants a tap before it plays video.",
      action: "Play",
    };
  if (player.failure) return playerFailure(view);
  if (player.phase === "opening" || player.phase === "held")
    return { kind: "opening", title: "Opening the stream", detail: "", isBusy: true };
  if (silenceMs !== null && silenceMs >= 2000) return silent(silenceMs);
  return null;
}

const UNSUPPORTED = {
  kind: "unsupported",
  title: "This browser cannot play WebRTC video",
  detail:
    "WebRTC is missing or switched off here. Try a current Chrome, Edge, Firefox or Safari, or allow WebRTC in the browser's settings and extensions.",
};

const UNAUTHORIZED = {
  kind: "token",
  title: "This server asks for an access token",
  detail: "Whoever started the server set it. It is kept in this tab only.",
};

function serverGone({ server, now }) {
  const why =
    {
      timeout: "The server takes too long to answer.",
      broken: "Something answers, but it is not a Livelens server.",
    }[server.reason] ?? "The server does not answer. It may be restarting, or the network is down.";
  return {
    kind: "server",
    title: "Connection to the server lost",
    detail: `${why} The picture comes back by itself.`,
    clock: nextTry(server.retryAt, server.attempt, now),
    action: "Try now",
    isBusy: true,
  };
}

function nextTry(retryAt, attempt, now) {
  const left = seconds(retryAt - now);
  return left > 0 ? `Next try in ${left} s (attempt ${attempt + 1})` : `Trying now (attempt ${attempt + 1})`;
}

function streamProblem({ stream, wanted, streamCount, isSharing }) {
  if (streamCount === 0)
    return {
      kind: "none",
      title: "No streams yet",
      detail:
        "The server runs, but nothing is set up to play. Start it with a source, or send a camera to it; the stream shows up here by itself.",
    };
  if (!stream && wanted !== null)
    return {
      kind: "unknown",
      title: `There is no stream “${wanted}”`,
      detail: "It may have been removed or renamed. Choose one of the streams of this server.",
    };
  if (!stream) return { kind: "choose", title: "Choose a stream", detail: "" };
  const problem = sourceProblem(stream);
  const isComing = isSharing && stream.source?.state === "waiting";
  return isComing ? { kind: "source", title: "Sending your video", detail: "", isBusy: true } : problem;
}

/** Start a plain word with a capital; an address or a name stays as it is. */
function sentence(text) {
  return /^[a-z]+ /.test(text ?? "") ? text[0].toUpperCase() + text.slice(1) : text;
}

function sourceProblem(stream) {
  const { state, code, address } = stream.source ?? {};
  const message = sentence(stream.source?.message);
  const place = address || stream.name;
  const fallback = code ? `Reason: ${code}.` : "The server gave no reason.";
  switch (state) {
    case "retrying":
      return { kind: "source", title: `Retrying ${place}`, detail: message || fallback, isBusy: true };
    case "stalled":
      return {
        kind: "source",
        title: `${place} sends no new pictures`,
        detail: message || "The source is connected but sends nothing. The stream goes on as soon as it does.",
        isBusy: true,
      };
    case "error":
      return { kind: "source", title: `${place} has stopped`, detail: message || fallback };
    case "finished":
      return {
        kind: "finished",
        title: "The recording has ended",
        detail: message || `${place} was played to its end.`,
      };
    case "waiting":
      return {
        kind: "source",
        title: "Waiting for a sender",
        detail: message || `Nothing is sent to “${stream.name}” yet. It starts here as soon as a camera does.`,
        action: "Share my camera",
        isBusy: true,
      };
  }
  if (stream.admission && !stream.ready)
    return {
      kind: "refused",
      title: "This machine cannot show the stream in time",
      detail: sentence(stream.admission.reason || stream.problem) || fallback,
    };
  if (stream.problem && !stream.ready)
    return { kind: "models", title: "The models could not be started", detail: sentence(stream.problem) };
  if (!stream.ready)
    return {
      kind: "warming",
      title: "Models are warming up",
      detail: message || "The first frames are slow, so they are run before anyone watches. This takes a few seconds.",
      isBusy: true,
    };
  if (state === "connecting")
    return {
      kind: "source",
      title: `Connecting to ${place}`,
      detail: message || "Waiting for the first picture.",
      isBusy: true,
    };
  return null;
}

function playerFailure({ player, now }) {
  const { reason, attempt, retryAt } = player.failure;
  const message = sentence(player.failure.message);
  const [title, detail] = {
    blocked: [
      "The video cannot get through",
      "The server answers, but no picture arrives. A firewall, a VPN or a browser extension may be blocking WebRTC (UDP).",
    ],
    lost: ["Video connection lost", "The connection to the server broke off."],
    silent: ["No new picture", "The server sends nothing on this connection; opening a new one."],
    unreachable: ["The server did not take the request", "It may be restarting, or the network is down."],
    unknown: ["The server does not know this stream", message],
    not_live: ["Nothing to play yet", message],
    busy: ["The server is not ready for one more viewer", message],
    setup: ["The browser could not set up the video", message],
  }[reason] ?? ["The server refused to play", message];
  return { kind: "player", title, detail, clock: nextTry(retryAt, attempt, now), action: "Try now", isBusy: true };
}

function silent(silenceMs) {
  return {
    kind: "silent",
    title: `No new picture for ${Math.floor(silenceMs / 1000)} s`,
    announce: "No new picture",
    detail: "The last picture is still shown. If the stream stays silent, a new connection is opened.",
    isBusy: true,
  };
}
