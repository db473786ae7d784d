"""Addresses as people type them."""

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.address import SourceKind, mask, parse_source
from stream.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "kind", "target"),
    [
        ("camera:0", SourceKind.CAMERA, "0"),
        ("camera:07", SourceKind.CAMERA, "7"),
        ("/dev/video2", SourceKind.CAMERA, "/dev/video2"),
        ("rtsp://cam.local:554/main", SourceKind.RTSP, "rtsp://cam.local:554/main"),
        ("RTSP://cam.local/main", SourceKind.RTSP, "RTSP://cam.local/main"),
        ("rtsps://[fe80::1]:322/a?b=c", SourceKind.RTSP, "rtsps://[fe80::1]:322/a?b=c"),
        ("rtsp://admin:p%40ss%231%25@10.0.0.2/cam", SourceKind.RTSP, "rtsp://admin:p%40ss%231%25@10.0.0.2/cam"),
        ("rtsp://10.0.0.2/cam@home", SourceKind.RTSP, "rtsp://10.0.0.2/cam@home"),
        ("https://example.org/live.m3u8", SourceKind.HTTP, "https://example.org/live.m3u8"),
        ("browser", SourceKind.BROWSER, ""),
        ("test:", SourceKind.TEST, ""),
    ],
)
def test_an_address_gives_its_kind(text: str, kind: SourceKind, target: str) -> None:
    spec = parse_source(text)
    assert (spec.kind, spec.target) == (kind, target)


def test_the_test_pattern_takes_a_size_and_a_rate() -> None:
    assert (parse_source("test:1280x720@59.94").size, parse_source("test:1280x720@59.94").fps) == ((1280, 720), 59.94)
    assert (parse_source("test:@10").size, parse_source("test:@10").fps) == ((640, 360), 10.0)


def test_files_and_folders_are_found_however_they_are_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a b.mp4").write_bytes(b"x")
    (tmp_path / "shots").mkdir()
    (tmp_path / "shots" / "1.PNG").write_bytes(b"x")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    target = str((tmp_path / "a b.mp4").resolve())
    for text in ("a b.mp4", "./a b.mp4", "~/a b.mp4", str(tmp_path / "a b.mp4"), f"file://{tmp_path}/a%20b.mp4"):
        assert (parse_source(text).kind, parse_source(text).target) == (SourceKind.FILE, target)
    assert parse_source("shots").kind is SourceKind.FOLDER
    assert parse_source("shots/1.PNG").kind is SourceKind.FOLDER  # one picture is a folder of one


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "no source given"),
        ("nowhere.mp4", "no such file"),
        ("rtmp://host/live", "rtmp:// is not a kind"),
        ("camera:front", "camera:0"),
        ("camera:", "camera:0"),
        ("camera:-1", "camera:0"),
        ("test:640@30", "test:640x360@30"),
        ("test:641x360", "divisible by 4"),
        ("test:99999x360", "7680"),
        ("test:640x360@0", "above 0"),
        ("rtsp:///cam", "host is missing"),
        ("rtsp://:554/cam", "host is missing"),
        ("rtsp://cam:port/x", "port"),
        ("rtsp://cam:0/x", "port"),
        ("rtsp://cam:99999/x", "port"),
        ("file://server/share/a.mp4", "no host"),
        ("a\0b", "NUL"),
    ],
)
def test_a_wrong_address_is_refused_with_what_to_do(text: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        parse_source(text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "rtsp://admin:p@ss#1%@127.0.0.1:8555/cam",
        "rtsp://admin:p@ss@127.0.0.1/cam",
        "rtsp://admin:pass#1@127.0.0.1/cam",
        "rtsp://admin:pass%@127.0.0.1/cam",
        "rtsp://admin:pa/ss@127.0.0.1/cam",
        "http://admin:pass?1@127.0.0.1/cam",
    ],
)
def test_special_characters_in_a_password_ask_for_percent_encoding_and_hide_it(url: str) -> None:
    """mediamtx#2069: the raw password went to a host called "ss"."""
    with pytest.raises(ConfigError, match="percent-encode") as caught:
        parse_source(url)
    assert "ss" not in str(caught.value).replace("password", "")


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no picture"):
        parse_source(str(tmp_path))


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("rtsp://admin:secret@host:554/x", "rtsp://admin:***@host:554/x"),
        ("rtsp://token@host/x", "rtsp://***@host/x"),
        ("http://host/a.mjpg?user=me&password=secret", "http://host/a.mjpg?user=me&password=***"),
        ("http://host/a?apikey=secret#t", "http://host/a?apikey=***#t"),
        ("http://host/a?fps=5", "http://host/a?fps=5"),
        ("rtsp://host:554/cam@home", "rtsp://host:554/cam@home"),
        ("camera:0", "camera:0"),
    ],
)
def test_masking_hides_secrets_only(address: str, shown: str) -> None:
    assert mask(address) == shown


@given(password=st.text(min_size=4).filter(lambda text: text.strip() == text))
def test_no_password_shows_whatever_it_is(password: str) -> None:
    secret = f"S3CR{password}ET"
    try:
        shown = str(parse_source(f"rtsp://admin:{secret}@camera.local/main"))
    except ConfigError as error:
        shown = str(error)
    assert secret not in shown


def test_the_spec_does_not_print_its_secret() -> None:
    spec = parse_source("rtsp://admin:hunter2@host/x?token=abc")
    assert "hunter2" not in repr(spec) + str(spec)
    assert "abc" not in repr(spec) + str(spec)


def test_importing_the_contract_loads_no_decoder() -> None:
    code = "import sys, stream.source; print([m for m in ('av', 'cv2', 'numpy', 'torch') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"


@pytest.mark.parametrize("text", ["sample", "sample:", "SAMPLE:"])
def test_sample_is_the_clip_that_comes_with_the_program(text: str) -> None:
    spec = parse_source(text)
    assert spec.kind is SourceKind.FILE
    assert Path(spec.target).name == "sample.mp4" and Path(spec.target).is_file()
