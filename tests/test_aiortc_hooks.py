import inspect

import pytest
from aiortc import RTCConfiguration, RTCPeerConnection, RTCRtpSender
from aiortc.rtp import RTCP_PSFB_FIR, RTCP_PSFB_PLI, RtcpPsfbPacket

from stream.aiortc_hooks import on_keyframe_request


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
