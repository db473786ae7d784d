"""A real RTSP camera for tests: GStreamer's server, run with the system's python3 in its own process.

    python3 tests/rtsp_server.py PORT [--launch PIPELINE] [--user NAME:PASSWORD] [--one-client]

It serves /cam and prints one word per event on stdout: ready, connected, teardown, closed.
"""

import argparse
import sys
from typing import Any

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402

LAUNCH = (
    "( videotestsrc is-live=true ! video/x-raw,width=320,height=240,framerate=15/1 "
    "! x264enc tune=zerolatency speed-preset=ultrafast key-int-max=30 "
    "! rtph264pay name=pay0 pt=96 config-interval=1 )"
)


def say(event: str) -> None:
    """Tell the test what happened."""
    print(event, flush=True)


def watch_client(server: Any, client: Any, one_client: bool) -> None:
    """Report what a client does; with `one_client` turn away whoever comes while another is there."""
    if one_client and len(server.client_filter(None)) > 1:
        client.close()
        return
    say("connected")
    client.connect("teardown-request", lambda *_: say("teardown"))
    client.connect("closed", lambda *_: say("closed"))


def require_login(server: Any, factory: Any, user: str, password: str) -> None:
    """Let only `user` see the camera (basic authentication)."""
    auth = GstRtspServer.RTSPAuth()
    token = GstRtspServer.RTSPToken()
    token.set_string("media.factory.role", "viewer")
    auth.add_basic(GstRtspServer.RTSPAuth.make_basic(user, password), token)
    server.set_auth(auth)
    rights = "viewer, media.factory.access=(boolean)true, media.factory.construct=(boolean)true"
    factory.add_role_from_structure(Gst.Structure.new_from_string(rights))


def main(argv: list[str]) -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("port")
    parser.add_argument("--launch", default=LAUNCH)
    parser.add_argument("--user")
    parser.add_argument("--one-client", action="store_true")
    wanted = parser.parse_args(argv)
    Gst.init(None)
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(wanted.port)
    factory = GstRtspServer.RTSPMediaFactory()
    factory.set_shared(True)
    factory.set_launch(wanted.launch)
    server.get_mount_points().add_factory("/cam", factory)
    if wanted.user:
        user, _, password = wanted.user.partition(":")
        require_login(server, factory, user, password)
    server.connect("client-connected", lambda _, client: watch_client(server, client, wanted.one_client))
    if not server.attach(None):
        raise SystemExit(f"cannot listen on port {wanted.port}")
    say("ready")
    GLib.MainLoop().run()


if __name__ == "__main__":
    main(sys.argv[1:])
