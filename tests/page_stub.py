"""A small server that serves the web page with scripted answers, so that a test or a person can look at it.

    python -m tests.page_stub --scenario overloaded --port 8099

Speaks the page's side of the server: /, /page/*, /api/streams and WHEP. The picture is drawn and sent by aiortc, over
loopback only. A stub's attributes are set by the test's thread and read by the server's, so its waits poll.
"""

import argparse
import asyncio
import copy
import threading
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from aiohttp import web
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription, VideoStreamTrack

PAGE = Path(__file__).parent.parent / "stream" / "page"
HOSTILE_NAME = "<img src=x onerror=alert(1)>"
HEADERS = {"Content-Security-Policy": "default-src 'self'", "X-Content-Type-Options": "nosniff"}
TYPES = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml", ".html": "text/html"}

Json = dict[str, Any]


def _quantiles(p50: float) -> Json:
    return {"p50": round(p50, 1), "p95": round(p50 * 1.5, 1), "p99": round(p50 * 1.9, 1), "max": round(p50 * 2.6, 1)}


def _ladder(best: str, *rungs: tuple[str, float, float | None]) -> list[Json]:
    """Return a ladder as the server tells it; rungs are (options, quality, predicted ms, None while not ready)."""
    return [
        {
            "variant": f"{best}, {options}" if options else best,
            "quality": quality,
            "predicted_ms": ms,
            "ready": bool(ms),
        }
        for options, quality, ms in rungs
    ]


STYLE_LADDER = _ladder("openvino bf16", ("", 1.0, 23.4), ("scale=0.75", 0.61, 14.6), ("scale=0.5", 0.53, 6.9))
BOXES_LADDER = _ladder("openvino bf16", ("", 1.0, 8.4), ("size=320", 0.89, 4.7))


def _event(at_s_ago: float, stage: str, before: str, after: str, reason: str) -> Json:
    return {"at_s_ago": round(at_s_ago, 1), "stage": stage, "before": before, "after": after, "reason": reason}


def _events(t: float, count: int) -> list[Json]:
    """Return `count` changes of variant, newest first: the style down and up again, the boxes once."""
    full, three_quarters, half = (rung["variant"] for rung in STYLE_LADDER)
    turn = [
        ("style", full, half, "it takes 61 ms, and there are 33 for a frame"),
        ("boxes", BOXES_LADDER[0]["variant"], BOXES_LADDER[1]["variant"], "it takes 42 ms, and the budget leaves 12"),
        ("style", three_quarters, full, "there is room: 24 of 33 ms"),
        ("style", half, three_quarters, "there is room: 15 of 33 ms"),
    ]
    return [_event(2.3 + t % 4 + 17 * index**1.9, *turn[index % 4]) for index in range(count)]


SHADOW: Json = {
    "every_s": 30,
    "waits_for": None,
    "stages": [
        {"name": "style", "measure": "PSNR", "value": 51.23, "unit": "dB", "below": "", "frames": 4, "problem": None},
        {
            "name": "boxes",
            "measure": "F1 of boxes",
            "value": 0.5,
            "unit": "",
            "below": "mAP",
            "frames": 3,
            "problem": None,
        },
    ],
}


def stream_status(name: str, t: float, *, steps: Json | None = None, on_time: float = 0.994) -> Json:
    """Return a healthy stream `t` seconds after its start; steps are typical milliseconds."""
    swing = 1 + 0.1 * np.sin(t / 5) + 0.05 * np.sin(t * 1.7)
    typical = steps or {
        "decode": 2.1, "queue": 0.4, "wait": 4.8, "models": 26.0, "hand_over": 0.3, "compose": 2.2, "encode": 3.1,
        "send": 0.7,
    }  # fmt: skip
    typical = {step: float(cost * swing) for step, cost in typical.items()}
    captured = int(900 + 30 * t)
    superseded, no_time = int(captured * 0.011), int(captured * 0.002)
    shown = captured - superseded - no_time - 2
    late = int(shown * (1 - on_time))
    return {
        "name": name, "ready": True, "width": 640, "height": 360, "budget_ms": 150, "viewers": 1,
        "min_quality": 0.0, "admission": None, "causes": {"model": superseded}, "ladder_events": [],
        "source": {
            "address": "sample clip", "kind": "file", "state": "running", "code": None, "message": "", "width": 640,
            "height": 360, "fps": 30.0, "codec": "h264", "decode_errors": 0, "reconnects": 0,
        },
        "fps": {"captured": 30.0, "shown": round(29.5 + 0.3 * float(np.sin(t / 3)), 1)},
        "frames": {
            "captured": captured, "shown": shown, "on_time": shown - late, "late": late, "reused": shown // 3,
            "skipped": 0, "in_flight": 2, "dropped": {"superseded": superseded, "no_time": no_time, "encoder_busy": 0},
        },
        "latency_ms": {
            "capture_to_send": _quantiles(sum(typical.values())),
            "steps": {step: _quantiles(cost) for step, cost in typical.items()},
        },
        "stages": [
            {
                "name": "style", "kind": "generate", "variant": "openvino bf16", "ips": 24.1, "rung": 0, "changes": 0,
                "ladder": STYLE_LADDER,
                "predicted_ms": 23.4, "runs": int(24 * t) + 800, "reuses": 0, "skips": 0, "errors": 0,
                "max_age_ms": 0, "last_error": None,
            },
            {
                "name": "boxes", "kind": "recognize", "variant": "openvino bf16", "ips": 10.2, "rung": 0, "changes": 0,
                "ladder": BOXES_LADDER,
                "predicted_ms": 8.4, "runs": int(10 * t) + 310, "reuses": int(20 * t) + 590, "skips": 0,
                "errors": 0, "max_age_ms": 200, "last_error": None,
            },
        ],
        "encoder": {"codec": "H264", "bitrate_bps": 1_800_000, "target_bps": 2_000_000},
    }  # fmt: skip


def _overloaded(name: str, t: float) -> Json:
    steps = {
        "decode": 2.4,
        "queue": 6.0,
        "wait": 58.0,
        "models": 94.0,
        "hand_over": 1.2,
        "compose": 2.6,
        "encode": 7.5,
        "send": 1.0,
    }
    status = stream_status(name, t, steps=steps, on_time=0.62)
    captured = status["frames"]["captured"]
    dropped = {
        "superseded": int(captured * 0.46), "no_time": int(captured * 0.09), "encoder_busy": int(captured * 0.01),
        "warming": 41, "out_of_order": 3, "model_error": 2, "lens_cap_on": 1,
    }  # fmt: skip
    shown = captured - sum(dropped.values()) - 3
    late = int(shown * 0.38)
    status["frames"] |= {
        "shown": shown, "on_time": shown - late, "late": late, "in_flight": 3, "reused": shown // 2,
        "skipped": shown // 9, "dropped": dropped,
    }  # fmt: skip
    status["fps"]["shown"] = round(12.9 + float(np.sin(t)), 1)
    half = _ladder("openvino bf16", ("", 1.0, 298.0), ("scale=0.75", 0.61, 171.0), ("scale=0.5", 0.53, 94.0))
    status["stages"][0] |= {
        "variant": half[2]["variant"], "rung": 2, "changes": 41, "ladder": half, "ips": 8.6, "predicted_ms": 94.0,
        "skips": 60,
    }  # fmt: skip
    status["ladder_events"] = _events(t, 20)
    status["causes"] = {
        "source": 12, "decode": 3, "waiting": int(captured * 0.02), "model": int(captured * 0.5), "encode": 19,
        "network": 8, "viewer": 2, "full_moon": 1,
    }  # fmt: skip
    status["stages"][1] |= {"errors": 2, "last_error": "boxes: output has shape (1, 84), expected (1, 84, 2184)"}
    return status


def _stepped_down(t: float) -> Json:
    """Return a stream that plays on lighter steps; every second tick of a clock has one change more."""
    status = stream_status("sample", t) | {"ladder_events": _events(t, 3 + int(t) % 2), "min_quality": 0.5}
    waiting = _ladder("openvino bf16", ("", 1.0, 8.4), ("size=320", 0.89, None))
    status["stages"][0] |= {"variant": STYLE_LADDER[1]["variant"], "rung": 1, "changes": 5, "predicted_ms": 14.6}
    status["stages"][1] |= {"ladder": waiting}
    return status


def _refused(t: float) -> Json:
    return _warming("sample", t) | {"problem": f"refused: {TOO_SLOW}", "admission": {"reason": TOO_SLOW}}


def _older(t: float) -> Json:
    """Return what a server says that knows nothing of ladders and causes."""
    status = stream_status("sample", t)
    for key in ("min_quality", "admission", "causes", "ladder_events"):
        del status[key]
    for stage in status["stages"]:
        for key in ("ladder", "rung", "changes"):
            del stage[key]
    del status["latency_ms"]["steps"]["hand_over"]
    return status


def _source(status: Json, state: str, message: str = "", code: str | None = None, address: str = "camera:0") -> Json:
    status["source"] |= {"state": state, "message": message, "code": code, "address": address}
    if state != "running":
        status["frames"] = stream_status("", 0)["frames"]  # nothing moves
        status["fps"] = {"captured": 0.0, "shown": 0.0}
    return status


def _warming(name: str, t: float) -> Json:
    status = stream_status(name, t) | {"ready": False}
    status["frames"] = {"captured": 12, "shown": 0, "on_time": 0, "late": 0, "reused": 0, "skipped": 0, "in_flight": 0}
    status["latency_ms"] = {"capture_to_send": {"p50": None, "p95": None, "p99": None, "max": None}, "steps": {}}
    status["fps"]["shown"] = 0.0
    return status | {"encoder": None, "viewers": 0}


def _option(value: str, meaning: str, low: float | None = None, high: float | None = None) -> Json:
    allowed = f"a number {low:g}..{high:g}" if low is not None and high is not None else "text"
    return {"value": value, "meaning": meaning, "allowed": allowed, "low": low, "high": high}


def _changeable(t: float) -> Json:
    """Return a stream whose style and diffusion may be changed while they play."""
    status = stream_status("live", t)
    style, boxes = status["stages"]
    style["live"] = {
        "strength": _option("1", "how much of the painting is mixed in", 0, 1),
        "blend": _option("", "mix styles instead of the one named") | {"allowed": "such as 2:0.3+12:0.7"},
    }
    diffusion = style | {"name": "diffusion", "variant": "torch fp16 cuda:0", "ladder": [], "predicted_ms": 11.2}
    diffusion["counts"] = {"painted": int(20 * t) + 100, "repeated": int(10 * t) + 50}
    diffusion["live"] = {
        "prompt": _option("a town in winter, oil", "what to paint"),
        "strength": _option("0.5", "how far it may go from the picture", 0.05, 1),
        "similarity": _option("0.98", "show the last painting again when so alike; 1 is never", 0, 1),
    }
    return status | {"stages": [diffusion, style, boxes]}


def _hostile(t: float) -> Json:
    status = _source(stream_status(HOSTILE_NAME, t), "running", address="<script>alert(2)</script>" + "x" * 300)
    status["frames"]["dropped"] |= {"constructor": 5, "<b>bold</b>" + "y" * 90: 4}
    status["stages"][0] |= {
        "name": HOSTILE_NAME,
        "variant": "<i>v</i>" + "z" * 90,
        "ladder": [
            {"variant": "<i>v</i>" + "z" * 90, "quality": 1.0, "predicted_ms": 3.0, "ready": True},
            {"variant": "<b>w</b>" + "w" * 90, "quality": 7e9, "predicted_ms": None, "ready": True},
        ],
        "last_error": "<svg onload=alert(3)>",
    }
    status["ladder_events"] = [_event(1e9, "<u>s</u>", "x" * 300, "constructor" * 30, "<img src=x onerror=alert(4)>")]
    status["causes"] = {"constructor": 3, "<b>" + "c" * 90: 2}
    return status


NO_OPENVINO = "boxes/coco needs openvino, which is not installed"
CAMERA_GONE = "the camera was unplugged or another program uses it; plug it in or close that program (next try in 4 s)"
TOO_SLOW = (
    "at its lightest a frame takes 212 ms, and the budget is 150 ms; give --budget 290 or more, a lighter model or a "
    "smaller --size, or --allow-late to see late pictures"
)
NO_ROUTE = "rtsp://10.0.0.7:554/door refused the connection; check the address and that the camera is on"

SCENARIOS: dict[str, Callable[[float], list[Json]]] = {
    "normal": lambda t: [stream_status("sample", t)],
    "overloaded": lambda t: [_overloaded("sample", t)],
    "retrying": lambda t: [_source(stream_status("desk", t), "retrying", CAMERA_GONE, "not_found")],
    "lost": lambda t: [_source(stream_status("sample", t), "retrying", CAMERA_GONE, "not_found")],
    "finished": lambda t: [_source(stream_status("sample", t), "finished", address="sample clip")],
    "waiting": lambda t: [_source(stream_status("phone", t), "waiting", address="whip")],
    "warming": lambda t: [_warming("sample", t)],
    "changeable": lambda t: [_changeable(t)],
    "three": lambda t: [
        stream_status("sample", t),
        _source(_overloaded("hall", t), "running", address="rtsp://10.0.0.6:554/hall"),
        _source(stream_status("door", t), "retrying", NO_ROUTE, "refused", "rtsp://10.0.0.7:554/door"),
    ],
    "hostile": lambda t: [
        _hostile(t),
        stream_status("a" * 64, t),
    ],
    "stepped-down": lambda t: [_stepped_down(t)],
    "checked": lambda t: [stream_status("sample", t) | {"shadow": SHADOW}],
    "refused": lambda t: [_refused(t)],
    "older": lambda t: [_older(t)],
    "left-out": lambda t: [stream_status("sample", t) | {"problem": NO_OPENVINO}],
    "broken": lambda t: [_warming("sample", t) | {"problem": NO_OPENVINO}],
    "none": lambda t: [],
}


class Scene:
    """A drawn landscape with a drifting sun and a found box; 4 s long, then again."""

    def __init__(self, width: int = 640, height: int = 360) -> None:
        self.width, self.height = width, height
        self.pictures = [self._draw(i / 60) for i in range(60)]

    def at(self, seconds: float) -> np.ndarray:
        """Return the picture [H,W,3] uint8 rgb for this time."""
        return self.pictures[int(seconds * 15) % len(self.pictures)]

    def _draw(self, turn: float) -> np.ndarray:
        w, h = self.width, self.height
        down = np.linspace(0, 1, h)[:, None, None]
        sky = np.array([38, 50, 96]) * (1 - down) + np.array([248, 160, 112]) * down
        picture = np.broadcast_to(sky, (h, w, 3)).astype(np.uint8).copy()
        sun = (int(w * (0.5 + 0.22 * np.sin(turn * 2 * np.pi))), int(h * (0.42 + 0.08 * np.cos(turn * 2 * np.pi))))
        cv2.circle(picture, sun, 44, (255, 226, 160), -1, cv2.LINE_AA)
        x = np.arange(w)
        for layer, color in enumerate([(112, 84, 118), (70, 62, 104), (34, 38, 70)]):
            wave = np.sin(x / (90 - 20 * layer) + layer * 2 + turn * 2 * np.pi * (layer + 1) / 3 * 3)
            top = h * (0.62 + 0.11 * layer) + 16 * wave
            edge = np.stack([x, top], 1).astype(np.int32)
            cv2.fillPoly(picture, [np.vstack([edge, [[w, h], [0, h]]]).astype(np.int32)], color, cv2.LINE_AA)
        corner = (sun[0] - 56, sun[1] - 56)
        cv2.rectangle(picture, corner, (sun[0] + 56, sun[1] + 56), (46, 211, 183), 2, cv2.LINE_AA)
        cv2.rectangle(picture, (corner[0] - 1, corner[1] - 20), (corner[0] + 82, corner[1]), (46, 211, 183), -1)
        place = (corner[0] + 5, corner[1] - 6)
        cv2.putText(picture, "sun 0.97", place, cv2.FONT_HERSHEY_SIMPLEX, 0.45, (6, 32, 29), 1, cv2.LINE_AA)
        return picture


class SceneTrack(VideoStreamTrack):
    """Sends the scene at the fps the status tells, and nothing while the stub is frozen."""

    def __init__(self, stub: "PageStub") -> None:
        super().__init__()
        self.stub = stub
        self.started = time.monotonic()
        self.sent = 0

    async def recv(self) -> av.VideoFrame:
        while self.stub.is_frozen:
            await asyncio.sleep(0.05)
        rate = 12 if self.stub.scenario == "overloaded" else 30
        self.sent = max(self.sent + 1, int((time.monotonic() - self.started) * rate))  # after a freeze: from now on
        seconds = self.sent / rate
        await asyncio.sleep(max(0, self.started + seconds - time.monotonic()))
        frame = av.VideoFrame.from_ndarray(self.stub.scene.at(seconds), format="rgb24")
        frame.pts, frame.time_base = int(seconds * 90000), Fraction(1, 90000)
        return frame


class PageStub:
    """The server, on a thread of its own so that synchronous tests can change its answers while a page looks.

    scenario     a key of SCENARIOS
    is_frozen    WHEP sessions stay open, but no picture is sent
    is_deaf      WHEP answers, then throws its side away: no media path ever opens
    refusal      (HTTP status, error text) for each WHEP POST; None answers properly
    is_hung      status requests get no answer
    token        Bearer token asked for; None asks for none
    """

    scene = None  # drawn once, used by every stub

    def __init__(self, scenario: str = "normal", port: int = 0) -> None:
        PageStub.scene = PageStub.scene or Scene()
        self.scenario = scenario
        self.port = port
        self.is_frozen = False
        self.is_deaf = False
        self.refusal: tuple[int, str] | None = None
        self.token: str | None = None
        self.is_hung = False
        self.asking = self.most_asking = 0  # status requests at the same time, now and at most
        self.offers: list[str] = []  # stream name of each WHEP POST
        self.ended: list[str] = []  # session id of each DELETE
        self.changes: list[tuple[str, str, Json, str | None]] = []  # (stream, stage, body, Authorization) of each PATCH
        self.change_refusal: str | None = None  # error text for each PATCH; None takes it
        self.peers: dict[str, RTCPeerConnection] = {}
        self.began = time.monotonic()
        self.loop: asyncio.AbstractEventLoop | None = None

    @property
    def url(self) -> str:
        """Return the page's address."""
        return f"http://127.0.0.1:{self.port}/"

    def start(self) -> "PageStub":
        """Listen; a stub that was stopped comes back on the same port."""
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()
        self._call(self._listen())
        return self

    def stop(self) -> None:
        """Close every session and the port, as a server does that is shut down. A second call changes nothing."""
        if self.loop is None:
            return
        self._call(self._close())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(5)
        self.loop.close()
        self.loop = None

    def drop_peers(self) -> None:
        """Close every session's media, as if its network path broke; the server goes on."""
        self._call(self._close_peers())

    def _call(self, work: Any) -> None:
        asyncio.run_coroutine_threadsafe(work, self.loop).result(10)

    async def _listen(self) -> None:
        app = web.Application()
        app.add_routes([
            web.get("/", self._index), web.get("/page/{file}", self._file), web.get("/api/streams", self._streams),
            web.patch("/api/streams/{name}/stages/{stage}", self._change),
            web.post("/whep/{name}", self._whep), web.delete("/session/{id}", self._end),
        ])  # fmt: skip
        self.runner = web.AppRunner(app, shutdown_timeout=1)
        await self.runner.setup()
        site = web.TCPSite(self.runner, "127.0.0.1", self.port, reuse_address=True)
        await site.start()
        self.port = site._server.sockets[0].getsockname()[1]

    async def _close(self) -> None:
        await self._close_peers()
        await self.runner.cleanup()

    async def _close_peers(self) -> None:
        peers, self.peers = self.peers, {}
        await asyncio.gather(*(peer.close() for peer in peers.values()))

    async def _index(self, request: web.Request) -> web.StreamResponse:
        return self._send("index.html")

    async def _file(self, request: web.Request) -> web.StreamResponse:
        return self._send(request.match_info["file"])

    def _send(self, name: str) -> web.Response:
        path = PAGE / Path(name).name
        if not path.is_file():
            raise web.HTTPNotFound
        return web.Response(body=path.read_bytes(), content_type=TYPES[path.suffix], headers=HEADERS, charset="utf-8")

    def _is_refused(self, request: web.Request) -> bool:
        return self.token is not None and request.headers.get("Authorization") != f"Bearer {self.token}"

    async def _streams(self, request: web.Request) -> web.Response:
        if self._is_refused(request):
            return web.json_response({"error": "token needed"}, status=401)
        self.asking += 1
        self.most_asking = max(self.most_asking, self.asking)
        try:
            while self.is_hung and request.transport is not None:
                await asyncio.sleep(0.05)
        finally:
            self.asking -= 1
        status = {"version": "0.1.0", "device": "cpu · OpenVINO bf16", "loop_lag_ms": {"p50": 0.2, "p99": 3.1}}
        return web.json_response(status | {"streams": self._live_streams()})

    async def _change(self, request: web.Request) -> web.Response:
        name, stage, body = request.match_info["name"], request.match_info["stage"], await request.json()
        if self.change_refusal is not None:
            return web.json_response({"error": self.change_refusal}, status=400)
        self.changes.append((name, stage, body, request.headers.get("Authorization")))
        (found,) = [one for one in self._live_streams()[0]["stages"] if one["name"] == stage]
        return web.json_response({"live": found["live"]})

    def _live_streams(self) -> list[Json]:
        """Return the scenario's streams with every change that was taken."""
        streams = copy.deepcopy(SCENARIOS[self.scenario](time.monotonic() - self.began))
        for name, stage, body, _ in self.changes:
            for one in (one for stream in streams if stream["name"] == name for one in stream["stages"]):
                if one["name"] == stage:
                    for option, value in body.items():
                        one["live"][option]["value"] = value
        return streams

    async def _whep(self, request: web.Request) -> web.Response:
        self.offers.append(request.match_info["name"])
        if self._is_refused(request):
            return web.json_response({"error": "token needed"}, status=401)
        if self.refusal is not None:
            status, text = self.refusal
            return web.json_response({"error": text}, status=status, headers={"Retry-After": "2"})
        peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        peer.addTrack(SceneTrack(self))
        await peer.setRemoteDescription(RTCSessionDescription(await request.text(), "offer"))
        await peer.setLocalDescription(await peer.createAnswer())
        answer, session = peer.localDescription.sdp, f"{len(self.offers)}"
        if self.is_deaf:
            await peer.close()
        else:
            self.peers[session] = peer
        headers = {"Location": f"../session/{session}"}
        return web.Response(status=201, text=answer, content_type="application/sdp", headers=headers)

    async def _end(self, request: web.Request) -> web.Response:
        session = request.match_info["id"]
        self.ended.append(session)
        if (peer := self.peers.pop(session, None)) is None:
            raise web.HTTPNotFound
        await peer.close()
        return web.Response()


def main() -> None:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--scenario", choices=sorted(SCENARIOS), default="normal")
    parser.add_argument("--port", type=int, default=8099)
    options = parser.parse_args()
    stub = PageStub(options.scenario, options.port).start()
    print(f"{stub.url}  (Ctrl-C ends)")
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        stub.stop()


if __name__ == "__main__":
    main()
