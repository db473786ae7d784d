// Sending this browser's camera, screen or a video file to a stream that waits for a sender.
import { byId, element, setText } from "/page/dom.js";
import { publish } from "/page/whip.js";

const SIZE = { width: { ideal: 1280 }, height: { ideal: 720 }, frameRate: { ideal: 30 } };
const RECONNECT_MS = 2000; // after a connection was lost; the server may be restarting

/**
 * The sender. `phase` is one of
 *   idle      nothing is sent
 *   asking    the browser asks for the camera or the screen
 *   opening   the server is asked
 *   sending   pictures go out
 */
export class Sharing {
  constructor({ headers, onChange }) {
    this.headers = headers; // function returning request headers
    this.onChange = onChange;
    this.phase = "idle";
    this.stream = null; // the selected stream's status; null when none
    this.name = null; // the stream that is sent to; null while idle
    this.session = null; // null unless a session is open
    this.media = null; // MediaStream being sent; null while idle
    this.what = null; // "camera", "screen" or "file"; null while idle
    this.abort = new AbortController(); // ends the opening under way
    this.retryTimer = null;
    byId("share-camera").addEventListener("click", () => this.share("camera"));
    byId("share-screen").addEventListener("click", () => this.share("screen"));
    byId("share-file").addEventListener("change", (event) => this.#shareFile(event.target));
    byId("share-stop").addEventListener("click", () => this.stop());
    byId("share-device").addEventListener("change", (event) => this.share("camera", event.target.value));
    byId("share-mirror").addEventListener("change", () => this.#draw());
  }

  /** Show the card for a stream that others send to; null hides it. */
  show(stream) {
    this.stream = stream;
    this.#draw();
  }

  /** Whether this page sends to the stream of this name, or is about to. */
  isSharing(name) {
    return this.name !== null && this.name === name;
  }

  /** Ask for a camera or the screen and send it. `deviceId` chooses among cameras. */
  async share(what, deviceId = null) {
    if (!navigator.mediaDevices) return this.#say(INSECURE);
    const abort = this.#begin(what);
    try {
      const camera = { video: { ...SIZE, ...(deviceId ? { deviceId: { exact: deviceId } } : {}) }, audio: false };
      const media = await (what === "screen"
        ? navigator.mediaDevices.getDisplayMedia({ video: { frameRate: { ideal: 30 } }, audio: false })
        : navigator.mediaDevices.getUserMedia(camera));
      await this.#send(media, abort);
      if (what === "camera") await this.#listCameras();
    } catch (error) {
      this.#fail(error);
    }
  }

  /** Stop sending, here and on the server. */
  stop() {
    this.#end();
    this.phase = "idle";
    this.#say("");
  }

  async #shareFile(input) {
    const [file] = input.files;
    input.value = ""; // so that the same file can be chosen again
    if (!file) return;
    const abort = this.#begin("file");
    try {
      await this.#send(await playing(file), abort);
    } catch (error) {
      this.#fail(error);
    }
  }

  #begin(what) {
    this.#end();
    this.abort = new AbortController();
    this.phase = "asking";
    this.name = this.stream?.name ?? null;
    this.what = what;
    this.#say("");
    return this.abort;
  }

  /** Send what was chosen; what a newer choice has overtaken is let go again. */
  async #send(media, abort) {
    if (this.name === null || abort.signal.aborted) return release(media);
    this.media = media;
    const [track] = media.getVideoTracks();
    track.contentHint = this.what === "screen" ? "detail" : "motion";
    track.addEventListener("ended", () => this.media === media && this.#lostTrack());
    await this.#connect(track);
  }

  async #connect(track) {
    this.phase = "opening";
    this.#draw();
    this.session = await publish(this.name, track, { headers: this.headers(), signal: this.abort.signal });
    const { peer } = this.session;
    peer.addEventListener("connectionstatechange", () => peer === this.session?.peer && this.#peerChanged(peer, track));
    this.phase = "sending";
    this.#say("");
  }

  /** A lost connection is opened again while there is something to send; another sender's is not taken back. */
  #peerChanged(peer, track) {
    if (peer.connectionState === "failed") {
      this.session.close();
      this.#say("The connection was lost; sending again in a moment.");
      this.retryTimer = setTimeout(() => this.#connect(track).catch((error) => this.#fail(error)), RECONNECT_MS);
    } else if (peer.connectionState === "closed") {
      this.stop();
      this.#say("Sending has ended: another sender took over, or the server stopped.");
    }
  }

  #lostTrack() {
    const what = { camera: "The camera is gone.", screen: "Sharing the screen has ended.", file: "The file has ended." };
    const words = what[this.what];
    this.stop();
    this.#say(words);
  }

  #fail(error) {
    if (error.name === "AbortError") return;
    const what = this.what;
    this.#end();
    this.phase = "idle";
    this.#say(failureText(error, what));
  }

  #end() {
    this.abort.abort();
    clearTimeout(this.retryTimer);
    this.session?.close();
    if (this.media) release(this.media);
    this.session = this.media = this.name = this.what = null;
  }

  async #listCameras() {
    const cameras = (await navigator.mediaDevices.enumerateDevices()).filter((one) => one.kind === "videoinput");
    const current = this.media?.getVideoTracks()[0]?.getSettings().deviceId;
    const options = cameras.map((camera, place) => {
      const option = element("option", "", camera.label || `Camera ${place + 1}`);
      option.value = camera.deviceId;
      option.selected = camera.deviceId === current;
      return option;
    });
    byId("share-device").replaceChildren(...options);
    this.#draw();
  }

  #say(text) {
    this.note = text;
    this.#draw();
    this.onChange();
  }

  #draw() {
    const takesSenders = this.stream?.source?.kind === "browser";
    byId("share").hidden = !takesSenders && this.name === null;
    const isRunning = this.media !== null;
    byId("share-choices").hidden = isRunning;
    byId("share-running").hidden = !isRunning;
    byId("share-note").hidden = !this.note;
    setText(byId("share-note"), this.note ?? "");
    const isCamera = this.what === "camera";
    byId("share-device-box").hidden = !isCamera || byId("share-device").options.length < 2;
    byId("share-mirror-box").hidden = !isCamera;
    const preview = byId("share-preview");
    if (preview.srcObject !== this.media) preview.srcObject = this.media;
    preview.classList.toggle("is-mirrored", isCamera && byId("share-mirror").checked);
    setText(byId("share-words"), isRunning ? this.#words() : "");
  }

  #words() {
    const { width, height } = this.media.getVideoTracks()[0]?.getSettings() ?? {};
    const what = { camera: "your camera", screen: "your screen", file: "the file" }[this.what];
    const size = width && height ? `, ${width}×${height}` : "";
    return this.phase === "sending" ? `Sending ${what} to “${this.name}”${size}` : `Connecting ${what} …`;
  }
}

const players = new WeakMap(); // MediaStream -> the video that plays a file into it

/** Let go of a camera, a screen or a file. */
function release(media) {
  for (const track of media.getTracks()) track.stop();
  const video = players.get(media);
  if (!video) return;
  video.pause();
  URL.revokeObjectURL(video.src);
  video.removeAttribute("src");
}

/** Play a file in a video that nobody sees, over and over, and return what it shows as a stream. */
async function playing(file) {
  const video = document.createElement("video");
  video.muted = video.loop = video.playsInline = true;
  video.src = URL.createObjectURL(file);
  try {
    await video.play();
  } catch {
    URL.revokeObjectURL(video.src);
    throw new DOMException(`This browser cannot play ${file.name}; try an MP4 with H.264, or WebM.`, "NotSupportedError");
  }
  const media = video.captureStream?.() ?? video.mozCaptureStream?.();
  if (!media) throw new DOMException("This browser cannot send a file; use Chrome, Edge or Firefox.", "NotSupportedError");
  players.set(media, video);
  return media;
}

const INSECURE =
  "Browsers give a page the camera only at https:// or localhost addresses. Open this page on the machine itself, or put it behind TLS.";

/** What went wrong, and what to do (names of W3C Media Capture, section 10.2). */
export function failureText(error, what) {
  const thing = what === "screen" ? "screen" : "camera";
  const texts = {
    NotAllowedError: `The browser was not allowed to use the ${thing}. Allow it in the address bar's permissions, and try again.`,
    NotFoundError: "No camera was found. Connect one, or send a screen or a video file.",
    NotReadableError: `The ${thing} is in use by another program, or broken. Close the other program, and try again.`,
    OverconstrainedError: "That camera is gone. Choose another one.",
    SecurityError: INSECURE,
  };
  return texts[error.name] ?? (error.message ? `It did not work: ${error.message}` : "It did not work.");
}
