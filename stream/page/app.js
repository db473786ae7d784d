// The page: asks the server for its streams, plays the chosen one, and shows how it does.
import { showBudget } from "/page/budget.js";
import { drawChart } from "/page/chart.js";
import { Controls } from "/page/controls.js";
import { byId, setAttribute, setText } from "/page/dom.js";
import { chooseStream, nameInAddress, showGallery } from "/page/gallery.js";
import { History } from "/page/history.js";
import { ms } from "/page/numbers.js";
import { showOverlay } from "/page/overlay.js";
import { showAccount, showBrowser, showStages, showTiles } from "/page/panel.js";
import { Player } from "/page/player.js";
import { Sharing } from "/page/sharing.js";
import { StreamsPoll } from "/page/streams.js";
import { overlayFor, stateWords, trouble, wholeWay } from "/page/texts.js";

const TOKEN_KEY = "livelens-token"; // sessionStorage: gone with the tab
const PLAYABLE = ["running", "stalled"]; // in other states the server has nothing live to offer

const page = {
  server: { state: "asking" }, // asking, up, down or unauthorized; down has reason, attempt, retryAt
  status: null, // the last answer; null before the first
  histories: new Map(), // stream name -> History
  wanted: nameInAddress(), // null when the address names no stream
};

const player = new Player(byId("video"), { headers: authorization, onChange: refresh });
const sharing = new Sharing({ headers: authorization, onChange: refresh });
const controls = new Controls({ headers: authorization });
const poll = new StreamsPoll({ onAnswer: answered, onFailure: failed, headers: authorization });

function authorization() {
  const token = sessionStorage.getItem(TOKEN_KEY);
  return token ? { Authorization: `Bearer ${token}` } : {};
}

function answered(status) {
  const now = performance.now();
  page.server = { state: "up" };
  page.status = status;
  for (const stream of status.streams) {
    if (!page.histories.has(stream.name)) page.histories.set(stream.name, new History());
    page.histories.get(stream.name).add(stream, now);
  }
  const names = new Set(status.streams.map((stream) => stream.name));
  for (const name of page.histories.keys()) if (!names.has(name)) page.histories.delete(name);
  steer();
}

function failed(failure) {
  const state = failure.reason === "unauthorized" ? "unauthorized" : "down";
  page.server = { state, ...failure };
  steer();
}

function selected() {
  return chooseStream(page.status?.streams ?? [], page.wanted, player.name);
}

/** Tell the player what to play and whether trying makes sense, then show everything. */
function steer() {
  const stream = selected();
  if (page.server.state === "up") player.select(stream?.name ?? null);
  const hasPictures = Boolean(stream?.ready) && PLAYABLE.includes(stream.source?.state);
  player.permit(page.server.state === "up" && hasPictures);
  showNumbers(stream);
  refresh();
}

function showNumbers(stream) {
  showServer();
  const streams = page.status?.streams ?? [];
  showGallery(streams, stream?.name ?? null, page.wanted !== null && stream === null);
  const hasNumbers = stream !== null;
  for (const id of ["panel", "budget"]) byId(id).hidden = !hasNumbers;
  const isOld = page.server.state !== "up" || stream?.source?.state !== "running"; // numbers of before, shown as such
  for (const id of ["panel", "budget", "stages-card"]) byId(id).classList.toggle("is-old", isOld);
  showCaption(stream);
  sharing.show(page.server.state === "up" ? stream : null);
  showStages(stream, controls);
  if (!hasNumbers) return;
  const history = page.histories.get(stream.name);
  showTiles(stream, history, player.frames);
  showBudget(stream);
  showAccount(stream, history);
  showBrowser(stream, player);
  showHistory(stream, history);
}

function showHistory(stream, history) {
  drawChart(byId("chart"), {
    samples: history.samples,
    budgetMs: stream.budget_ms,
    capturedFps: stream.fps?.captured,
    now: performance.now(),
  });
  const latency = wholeWay(stream.latency_ms).total;
  setAttribute(
    byId("chart"),
    "aria-label",
    `Last 60 seconds. Now: latency p50 ${ms(latency.p50)} ms, p95 ${ms(latency.p95)} ms, ${stream.fps?.shown ?? "no"} fps shown.`,
  );
}

function showCaption(stream) {
  const name = stream?.name ?? page.wanted ?? "";
  setText(byId("stream-name"), name);
  setText(byId("stream-source"), stream ? (stream.source?.address ?? "") : "");
  document.title = name ? `${name} · Livelens` : "Livelens";
  const pill = byId("stream-state");
  pill.hidden = !stream || page.server.state !== "up";
  if (!stream) return;
  const { words, tone } = stateWords(stream);
  setText(pill, words);
  pill.className = `pill tone-${tone}`;
  const wrong = page.server.state === "up" ? trouble(stream) : "";
  byId("stream-trouble").hidden = !wrong;
  setText(byId("stream-trouble"), wrong);
}

function showServer() {
  const { server, status } = page;
  const lag = status?.loop_lag_ms?.p99;
  const more = [typeof lag === "number" ? `loop lag p99 ${ms(lag)} ms` : "", status?.version]
    .filter(Boolean)
    .join(" · ");
  setText(byId("server-more"), server.state === "up" && more ? `· ${more}` : "");
  const words = {
    asking: "Connecting",
    up: status?.device ?? "Connected",
    down: "Server not answering",
    unauthorized: "Access token needed",
  }[server.state];
  setText(byId("server-text"), words);
  byId("server-dot").className = `dot tone-${{ up: "good", asking: "busy" }[server.state] ?? "bad"}`;
}

/** Show what lies over the video. Runs on every change of the player and twice a second while it plays. */
function refresh() {
  const view = {
    server: page.server,
    stream: selected(),
    isSharing: sharing.isSharing(selected()?.name),
    wanted: page.wanted,
    streamCount: page.status?.streams.length ?? 0,
    player: { phase: player.phase, failure: player.failure, hasSession: player.session !== null },
    silenceMs: player.frames.silenceMs,
    now: performance.now(),
  };
  const notice = overlayFor(view);
  showOverlay(notice);
  byId("live-chip").hidden = notice !== null || player.phase !== "playing";
}

function toggleFullscreen() {
  if (document.fullscreenElement) return document.exitFullscreen();
  const screen = byId("screen");
  if (screen.requestFullscreen) return screen.requestFullscreen().catch(() => {});
  byId("video").webkitEnterFullscreen?.(); // iPhones only let the video itself fill the screen
}

function act() {
  if (selected()?.source?.state === "waiting") return sharing.share("camera");
  if (player.phase === "tap") return player.tap();
  poll.askNow();
  player.retryNow();
}

function useToken(event) {
  event.preventDefault();
  sessionStorage.setItem(TOKEN_KEY, byId("token").value.trim());
  byId("token").value = "";
  page.server = { state: "asking" };
  poll.askNow();
  player.retryNow();
  refresh();
}

byId("fullscreen").addEventListener("click", toggleFullscreen);
byId("overlay-action").addEventListener("click", act);
byId("token-form").addEventListener("submit", useToken);
window.addEventListener("hashchange", () => {
  page.wanted = nameInAddress();
  steer();
});
window.addEventListener("online", () => poll.askNow());
window.addEventListener("resize", () => showNumbers(selected()));
window.addEventListener("pagehide", () => {
  player.leave();
  sharing.stop();
});
window.addEventListener("pageshow", (event) => event.persisted && steer()); // back from the browser's page cache
document.addEventListener("visibilitychange", () => {
  if (document.visibilityState === "visible") poll.askNow(); // timers of hidden tabs run late
});
setInterval(refresh, 500); // countdowns and "no new picture for N s"
poll.start();

// What tests and curious people may read. Nothing on the page depends on it.
window.livelens = {
  get stream() {
    return player.name;
  },
  get state() {
    return player.phase;
  },
  get connection() {
    return player.connection;
  },
  get sharing() {
    return sharing.phase;
  },
  get server() {
    return page.server.state;
  },
  get frames() {
    return player.frames.decoded;
  },
  get fps() {
    return player.frames.fps;
  },
  get timing() {
    return player.session?.timing ?? null;
  },
  get firstFrameMs() {
    return player.frames.firstFrameMs;
  },
  get silenceMs() {
    return player.frames.silenceMs;
  },
};
