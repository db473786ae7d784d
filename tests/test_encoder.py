import av
import cv2
import numpy as np
import pytest

from stream.encoder import (
    KEYFRAME_EVERY_NS,
    MAX_BITRATE_BPS,
    MIN_BITRATE_BPS,
    NVENC,
    EncoderSettings,
    KeyframeGate,
    VideoEncoder,
    default_bitrate_bps,
    h264_level,
)
from stream.errors import SinkError

DECODERS = {"H264": "h264", "VP8": "vp8"}


def encode(codec: str, pictures: list[np.ndarray], keyframes_at: set[int] = frozenset({0})) -> list[av.Packet]:
    height, width = pictures[0].shape[:2]
    encoder = VideoEncoder(EncoderSettings(codec, width, height, 30, 2_000_000))
    return [
        packet
        for index, picture in enumerate(pictures)
        for packet in encoder.encode(picture, index * 3000, is_keyframe=index in keyframes_at)
    ]


def moving(count: int, size: tuple[int, int] = (360, 640)) -> list[np.ndarray]:
    base = np.random.default_rng(0).integers(0, 255, (size[0] // 8, size[1] // 8, 3), np.uint8)
    big = np.kron(base, np.ones((8, 8, 1), np.uint8))
    return [np.roll(big, index * 4, axis=1) for index in range(count)]


@pytest.mark.parametrize("codec", DECODERS)
def test_each_picture_gives_one_packet_at_once_with_its_timestamp(codec: str) -> None:
    packets = encode(codec, moving(10))
    assert [packet.pts for packet in packets] == [index * 3000 for index in range(10)]
    assert [packet.dts for packet in packets] == [packet.pts for packet in packets]  # no B-frames
    assert [packet.is_keyframe for packet in packets] == [True] + [False] * 9


@pytest.mark.parametrize("codec", DECODERS)
def test_a_keyframe_comes_when_asked_for_and_decodes_alone(codec: str) -> None:
    pictures = moving(8)
    packets = encode(codec, pictures, {0, 5})
    assert [index for index, packet in enumerate(packets) if packet.is_keyframe] == [0, 5]
    decoder = av.CodecContext.create(DECODERS[codec], "r")
    decoded = [frame for packet in packets[5:] for frame in decoder.decode(packet)]
    decoded += decoder.decode(None)
    assert len(decoded) == 3


@pytest.mark.parametrize("codec", DECODERS)
def test_a_flat_colour_comes_back(codec: str) -> None:
    flat = np.full((128, 128, 3), (32, 160, 96), np.uint8)
    decoder = av.CodecContext.create(DECODERS[codec], "r")
    frames = [f for packet in encode(codec, [flat] * 4) for f in decoder.decode(packet)] + decoder.decode(None)
    pixel = frames[-1].to_ndarray(format="rgb24", src_colorspace="ITU601")[64, 64]
    assert np.abs(pixel.astype(int) - (32, 160, 96)).max() <= 4


@pytest.mark.parametrize("codec", DECODERS)
@pytest.mark.parametrize("height", [128, 130, 134])
def test_every_even_height_comes_back_whole(codec: str, height: int) -> None:
    """PyAV 18 takes a height that does not divide by 4 for two rows less when it is given a buffer."""
    picture = np.zeros((height, 128, 3), np.uint8)
    picture[height // 2 :] = (32, 160, 96)
    decoder = av.CodecContext.create(DECODERS[codec], "r")
    frames = [f for packet in encode(codec, [picture] * 4) for f in decoder.decode(packet)] + decoder.decode(None)
    shown = frames[-1].to_ndarray(format="rgb24", src_colorspace="ITU601")
    assert shown.shape == picture.shape
    assert np.abs(shown[-8:, 64].astype(int) - (32, 160, 96)).max() <= 6
    assert shown[:8, 64].max() <= 8


def test_a_gpus_encoder_that_is_not_there_says_so() -> None:
    with pytest.raises(SinkError, match=r"no h264_none encoder for 320x180: .*livelens doctor"):
        VideoEncoder(EncoderSettings("H264", 320, 180, 30, 1_000_000, encoder="h264_none"))


@pytest.mark.gpu
def test_gpu_nvenc_gives_a_packet_a_picture_and_a_keyframe_when_asked() -> None:
    encoder = VideoEncoder(EncoderSettings("H264", 640, 360, 30, 2_000_000, encoder=NVENC))
    pictures = moving(12)
    packets = [encoder.encode(p, index * 3000, is_keyframe=index in (0, 7)) for index, p in enumerate(pictures)]
    assert [len(some) for some in packets] == [1] * 12  # none is held back
    assert [some[0].is_keyframe for some in packets] == [index in (0, 7) for index in range(12)]
    decoder = av.CodecContext.create("h264", "r")
    decoded = [frame for some in packets[7:] for frame in decoder.decode(some[0])] + decoder.decode(None)
    assert len(decoded) == 5


def test_h264_says_its_colours_are_bt601_limited() -> None:
    decoder = av.CodecContext.create("h264", "r")
    frames = [f for p in encode("H264", [np.zeros((64, 64, 3), np.uint8)] * 3) for f in decoder.decode(p)]
    frames += decoder.decode(None)
    assert (frames[0].colorspace, frames[0].color_range) == (6, 1)


def test_the_rate_follows_without_a_keyframe() -> None:
    noise = cv2.GaussianBlur(np.random.default_rng(1).integers(0, 255, (180, 320, 3), np.uint8), (0, 0), 1.0)
    encoder = VideoEncoder(EncoderSettings("H264", 320, 180, 30, 3_000_000))

    def kilobits(start: int) -> float:
        sizes = [
            sum(p.size for p in encoder.encode(np.roll(noise, i, axis=0), (start + i) * 3000, is_keyframe=False))
            for i in range(90)
        ]
        return sum(sizes[30:]) * 8 / 1000 / 2

    before = kilobits(0)
    encoder.set_bitrate(600_000)
    assert kilobits(90) < 0.5 * before
    encoder.set_bitrate(4_000_000)
    assert kilobits(180) > before
    assert encoder.keyframes == 1


def test_fewer_pictures_than_declared_still_fill_the_bit_rate() -> None:
    noise = cv2.GaussianBlur(np.random.default_rng(1).integers(0, 255, (180, 320, 3), np.uint8), (0, 0), 1.0)
    sent = []
    for is_followed in (False, True):
        encoder = VideoEncoder(EncoderSettings("H264", 320, 180, 30, 1_000_000))
        bits = 0
        for index in range(60):  # six seconds at 10 fps
            if is_followed:
                encoder.follow_rate(10)
            packets = encoder.encode(np.roll(noise, 3 * index, axis=0), index * 9000, is_keyframe=False)
            bits += 8 * sum(packet.size for packet in packets)
        sent.append(bits / 6)
    assert sent[1] > 1.8 * sent[0]
    assert 700_000 < sent[1] < 1_600_000


@pytest.mark.parametrize(
    ("size", "level"), [((640, 360), "31"), ((1280, 720), "31"), ((1920, 1080), "40"), ((3840, 2160), "51")]
)
def test_the_level_fits_the_size(size: tuple[int, int], level: str) -> None:
    assert h264_level(*size, 30) == level


def test_a_huge_rate_takes_the_highest_level() -> None:
    assert h264_level(7680, 4320, 240) == "52"


def test_the_default_rate_stays_within_bounds() -> None:
    assert default_bitrate_bps(16, 16, 1) == MIN_BITRATE_BPS
    assert default_bitrate_bps(7680, 4320, 60) == MAX_BITRATE_BPS
    assert 1_500_000 < default_bitrate_bps(640, 360, 30) < 2_000_000


def test_an_encoder_that_cannot_be_opened_says_what_to_do() -> None:
    with pytest.raises(SinkError, match=r"no H264 encoder for 641x359.*livelens doctor"):
        VideoEncoder(EncoderSettings("H264", 641, 359, 30, 1_000_000))


def test_the_gate_joins_requests_and_keeps_its_distance() -> None:
    gate = KeyframeGate()
    assert gate.take(0)
    for _ in range(50):
        gate.request()
    assert not gate.take(KEYFRAME_EVERY_NS - 1)
    assert gate.take(KEYFRAME_EVERY_NS)
    assert not gate.take(10 * KEYFRAME_EVERY_NS)
