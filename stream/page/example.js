// A client of one's own, from nothing: plays a stream over WHEP and prints what the server tells of each picture on
// screen. The messages are described in docs/frame-messages.md. Open /page/example.html#name on the server.
const told = document.getElementById("told");
const video = document.getElementById("video");
const frames = new Map(); // RTP timestamp as the stream counts -> the message of that frame
let origin = null; // what the server's transport adds to RTP timestamps; told in the hello
let offsetMs = null; // the server's clock minus performance.now()
let bestRttMs = Infinity;

const name = decodeURIComponent(location.hash.slice(1)) || (await firstStream());
const peer = new RTCPeerConnection();
peer.addTransceiver("video", { direction: "recvonly" });
peer.addEventListener("track", ({ track }) => (video.srcObject = new MediaStream([track])));
const channel = peer.createDataChannel("livelens"); // before the offer, so that it is in it
channel.addEventListener("message", ({ data }) => take(JSON.parse(data)));
channel.addEventListener("open", () => setInterval(ping, 1000));

await peer.setLocalDescription(await peer.createOffer());
const answer = await fetch(`/whep/${encodeURIComponent(name)}`, {
  method: "POST",
  headers: { "Content-Type": "application/sdp" },
  body: peer.localDescription.sdp,
});
if (!answer.ok) throw new Error((told.textContent = (await answer.json()).error));
await peer.setRemoteDescription({ type: "answer", sdp: await answer.text() });
addEventListener("pagehide", () => fetch(answer.headers.get("Location"), { method: "DELETE", keepalive: true }));
video.requestVideoFrameCallback(painted);

async function firstStream() {
  return (await (await fetch("/api/streams")).json()).streams[0].name;
}

function ping() {
  channel.send(JSON.stringify({ type: "ping", t: performance.now() }));
}

function take(message) {
  if (message.type === "hello") origin = message.rtp_origin;
  if (message.type === "frame") frames.set(message.rtp, message);
  if (frames.size > 300) frames.delete(frames.keys().next().value);
  const rttMs = message.type === "pong" ? performance.now() - message.t : Infinity;
  if (rttMs >= bestRttMs) return;
  bestRttMs = rttMs; // the quickest answer tells the clocks' difference best
  offsetMs = message.server_ms - (message.t + rttMs / 2);
}

function painted(_now, { rtpTimestamp, expectedDisplayTime }) {
  const frame = frames.get((rtpTimestamp - origin + 2 ** 32) % 2 ** 32);
  if (frame && offsetMs !== null) {
    const shownMs = expectedDisplayTime + offsetMs; // on the server's clock
    channel.send(JSON.stringify({ type: "shown", frames: [[frame.seq, shownMs]] }));
    told.textContent = `on screen ${(shownMs - frame.captured_ms).toFixed(1)} ms after its capture\n`;
    told.textContent += JSON.stringify(frame, null, 2);
  }
  video.requestVideoFrameCallback(painted);
}
