#!/usr/bin/env bash
# Install the system programs that the tests drive: a browser, ffmpeg, the GStreamer RTSP server, a C++ compiler.
# Uses apt-get where that is possible; elsewhere it lists what to install, and fails. Nothing missing: silent and quick.
set -euo pipefail

have_chromium() {
    local name
    for name in chromium chromium-browser google-chrome google-chrome-stable; do
        command -v "$name" >/dev/null && return
    done
    [[ -x "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome" || -x /Applications/Chromium.app/Contents/MacOS/Chromium ]]
}

have_compiler() { command -v g++ >/dev/null || command -v clang++ >/dev/null; } # for torch.compile

have_ffmpeg() { command -v ffmpeg >/dev/null && command -v ffprobe >/dev/null; }

# The GStreamer bindings belong to the system's Python, not to .venv. Each element stands for the plugin set it is in.
have_rtsp_server() {
    local python
    for python in /usr/bin/python3 /opt/homebrew/bin/python3 /usr/local/bin/python3; do
        [[ -x "$python" ]] && "$python" - >/dev/null 2>&1 <<'PY' && return
import gi
gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import Gst, GstRtspServer
Gst.init(None)
raise SystemExit(not all(map(Gst.ElementFactory.find, ("videotestsrc", "rtph264pay", "x264enc"))))
PY
    done
    return 1
}

missing() {
    have_chromium || echo chromium
    have_ffmpeg || echo ffmpeg
    have_compiler || echo g++
    have_rtsp_server || echo gstreamer-rtsp-server
}

# Print the Debian packages for one name of `missing`.
debian_packages() {
    case "$1" in
        chromium) echo chromium ;;
        ffmpeg) echo ffmpeg ;;
        g++) echo g++ ;;
        gstreamer-rtsp-server)
            echo python3-gi gir1.2-gst-rtsp-server-1.0 \
                gstreamer1.0-plugins-base gstreamer1.0-plugins-good gstreamer1.0-plugins-ugly
            ;;
    esac
}

explain() {
    cat >&2 <<TEXT
The tests need programs that are missing here: $*
Install them, then run make test again.

  Debian, Ubuntu  sudo apt-get install chromium ffmpeg g++ python3-gi gir1.2-gst-rtsp-server-1.0 \\
                    gstreamer1.0-plugins-base gstreamer1.0-plugins-good gstreamer1.0-plugins-ugly
                  (Ubuntu: if chromium is only a snap there, Google Chrome's own .deb does as well)
  Fedora          sudo dnf install chromium ffmpeg-free gcc-c++ python3-gobject gstreamer1-rtsp-server \\
                    gstreamer1-plugins-base gstreamer1-plugins-good gstreamer1-plugins-ugly
                  (x264enc is in gstreamer1-plugins-ugly of RPM Fusion)
  macOS           brew install --cask google-chrome && brew install ffmpeg gstreamer pygobject3 (xcode-select --install brings clang++)
TEXT
    exit 1
}

root=()
can_use_apt() {
    command -v apt-get >/dev/null || return 1
    [[ $EUID -eq 0 ]] && return
    command -v sudo >/dev/null && sudo -n true 2>/dev/null && root=(sudo -n)
}

main() {
    local name lacking packages=()
    lacking=$(missing)
    lacking=${lacking//$'\n'/ }
    [[ -z "$lacking" ]] && return
    can_use_apt || explain "$lacking"
    for name in $lacking; do
        # shellcheck disable=SC2207  # package names hold no spaces
        packages+=($(debian_packages "$name"))
    done
    echo "Installing for the tests: ${packages[*]}"
    "${root[@]}" apt-get update -qq || echo "apt-get update failed; trying with the lists that are here" >&2
    "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${packages[@]}" \
        >/dev/null || echo "apt-get install failed" >&2
    lacking=$(missing)
    lacking=${lacking//$'\n'/ }
    [[ -z "$lacking" ]] || explain "$lacking"
}

main
