import inspect

import pytest
from aiortc import RTCConfiguration, RTCPeerConnection, RTCRtpReceiver, RTCRtpSender
from aiortc.rtcrtpparameters import RTCRtpCodecParameters
from aiortc.rtp import RTCP_PSFB_FIR, RTCP_PSFB_PLI, RtcpPsfbPacket, RtpPacket

from stream.aiortc_hooks import Reception, on_keyframe_request
from stream.jitter_buffer import EncodedFrame


@pytest.mark.parametrize("fmt", [RTCP_PSFB_PLI, RTCP_PSFB_FIR])
async def test_pli_and_fir_reach_the_callback(fmt: int) -> None:
    connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    sender = connection.addTransceiver("video", direction="sendonly").sender
    calls: list[int] = []
    on_keyframe_request(sender, lambda: calls.append(1))
    await sender._handle_rtcp_packet(RtcpPsfbPacket(fmt=fmt, ssrc=1, media_ssrc=sender._ssrc))
    assert calls == [1]
    await connection.close()


def test_aiortc_still_has_what_the_hook_replaces() -> None:
    assert list(inspect.signature(RTCRtpSender._send_keyframe).parameters) == ["self"]


def test_aiortc_still_calls_its_jitter_buffer_as_the_hook_expects() -> None:
    source = inspect.getsource(RTCRtpReceiver._handle_rtp_packet)
    assert "pli_flag, encoded_frame = self.__jitter_buffer.add(packet)" in source
    assert "packet._data = depayload(codec, packet.payload)" in source
    assert "if encoded_frame is not None and self.__decoder_thread:" in source  # None: its decoder gets nothing


async def test_a_receivers_packets_become_frames_and_losses_a_request_for_a_keyframe() -> None:
    connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    receiver = connection.addTransceiver("video", direction="recvonly").receiver
    got: list[tuple[str, EncodedFrame]] = []
    now = [0]
    reception = Reception(receiver, lambda codec, frame: got.append((codec, frame)), lambda: now[0])
    parameters = RTCRtpCodecParameters(mimeType="video/VP8", clockRate=90_000, payloadType=97)
    receiver._RTCRtpReceiver__codecs[97] = parameters
    plis: list[int] = []

    async def note(ssrc: int) -> None:
        plis.append(ssrc)

    receiver._send_rtcp_pli = note
    key, delta = b"\x10\x10\x02\x00\x9d\x01\x2a\x80\x02", b"\x10\x11\x02\x00"  # descriptor, then VP8's own header
    for seq, at_ms, payload in ((1, 0, key), (2, 33, delta), (4, 99, delta), (5, 132, delta), (6, 500, delta)):
        now[0] = at_ms * 1_000_000
        packet = RtpPacket(payload_type=97, marker=1, sequence_number=seq, timestamp=seq * 3000, ssrc=5)
        packet.payload = payload
        await receiver._handle_rtp_packet(packet, at_ms)
    assert [(codec, frame.is_keyframe) for codec, frame in got] == [("VP8", True), ("VP8", False)]
    assert plis == [5]
    assert reception.counts().lost == 1
    assert receiver._RTCRtpReceiver__decoder_queue.qsize() == 0
    await connection.close()
