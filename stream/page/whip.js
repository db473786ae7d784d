// One WHIP session (RFC 9725): our pictures go out to a stream of the server.
import { WhepSession, post } from "/page/whep.js";

const PREFERRED = ["video/H264", "video/VP8"]; // what the server decodes, the cheaper to decode first
const MAX_BITRATE_BPS = 4_000_000;

/**
 * Send a video track to a stream; returns the session once the answer is set.
 * @param {string} name stream name
 * @param {MediaStreamTrack} track
 * @param {{headers: Object, signal: AbortSignal}} options
 * @throws {WhepError} when the server refuses or does not answer; AbortError when `signal` fired
 */
export async function publish(name, track, { headers, signal }) {
  const peer = new RTCPeerConnection({ iceServers: [], bundlePolicy: "max-bundle" });
  let session = new WhepSession(peer, null, headers);
  try {
    const transceiver = peer.addTransceiver(track, { direction: "sendonly" });
    preferCodecs(transceiver);
    await peer.setLocalDescription(await peer.createOffer());
    const url = new URL(`/whip/${encodeURIComponent(name)}`, location.href);
    const { answer, address } = await post(url, peer.localDescription.sdp, headers, signal);
    session = new WhepSession(peer, address, headers);
    signal.throwIfAborted();
    await peer.setRemoteDescription({ type: "answer", sdp: answer });
    await allowRate(transceiver.sender);
    return session;
  } catch (error) {
    session.close();
    throw error;
  }
}

/** Offer what the server takes first; a browser without the call offers its own order, which works as well. */
function preferCodecs(transceiver) {
  const known = RTCRtpSender.getCapabilities?.("video")?.codecs ?? [];
  const wanted = PREFERRED.flatMap((type) => known.filter((codec) => codec.mimeType === type));
  const others = known.filter((codec) => !PREFERRED.includes(codec.mimeType));
  if (wanted.length) transceiver.setCodecPreferences?.([...wanted, ...others]);
}

/** Let the picture keep its size and rate: models see detail, and the way to the server is short. */
async function allowRate(sender) {
  const parameters = sender.getParameters();
  for (const encoding of parameters.encodings ?? []) encoding.maxBitrate = MAX_BITRATE_BPS;
  await sender.setParameters(parameters).catch(() => {}); // a wish; the browser's own rate plays too
}
