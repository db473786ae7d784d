"""config.py: what is allowed, what is filled in, and that each error is one line that helps."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream import config
from stream.config import ServeConfig, StreamConfig, from_file, from_options
from stream.errors import ConfigError


def read(tmp_path: Path, text: str) -> ServeConfig:
    path = tmp_path / "cams.toml"
    path.write_text(text, encoding="utf-8")
    return from_file(path)


def error_of(tmp_path: Path, text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, text)
    message = str(caught.value)
    assert message.startswith(f"{tmp_path / 'cams.toml'}: ")
    assert "\n" not in message
    return message.split(": ", 1)[1]


def test_full_file_is_read(tmp_path: Path) -> None:
    settings = read(
        tmp_path,
        """
        [server]
        host = "0.0.0.0"
        port = 9000
        device = "cuda:1"
        [[stream]]
        name = "gate"
        source = "rtsp://10.0.0.7/main"
        recognize = ["boxes/coco"]
        budget_ms = 120
        size = "640x360"
        fps = 15
        [[stream]]
        name = "talk"
        source = "talk.mp4"
        generate = "style:where=all"
        loop = false
        """,
    )
    gate, talk = settings.streams
    assert (settings.host, settings.port, settings.device) == ("0.0.0.0", 9000, "cuda:1")
    assert (gate.recognize, gate.generate, gate.budget_ms, gate.size, gate.fps) == (
        ["boxes/coco"],
        None,
        120,
        (640, 360),
        15,
    )
    assert (talk.recognize, talk.generate, talk.loop, talk.size) == ([], "style:where=all", False, None)


def test_stream_without_models_gets_default_picture() -> None:
    stream = StreamConfig(source="test:")
    assert tuple(stream.recognize) == config.DEFAULT_RECOGNIZE
    assert stream.generate == config.DEFAULT_GENERATE
    assert (stream.name, stream.budget_ms) == ("live", config.DEFAULT_BUDGET_MS)


def test_named_model_runs_alone() -> None:
    assert StreamConfig(source="test:", recognize=["boxes/coco"]).generate is None
    assert StreamConfig(source="test:", generate="style").recognize == []


def test_models_false_gives_plain_video() -> None:
    stream = StreamConfig(source="test:", models=False)
    assert (stream.recognize, stream.generate) == ([], None)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("budget_ms = 0", "[[stream]] 1: budget_ms = 0 is not allowed; it must be more than 0 (milliseconds"),
        ("budget_ms = -5", "budget_ms = -5 is not allowed"),
        ("budget_ms = inf", "budget_ms = inf is not allowed"),
        ("budget_ms = nan", "budget_ms = nan is not allowed"),
        ("shadow_s = -1", "shadow_s = -1 is not allowed; it must be 0 (never) to 86400"),
        ('budget_ms = "150"', "budget_ms = '150' is not allowed"),
        ("buget_ms = 5", "[[stream]] 1: unknown key 'buget_ms'; did you mean budget_ms?"),
        ("zzz = 5", "unknown key 'zzz'; known are source, name, recognize"),
        ('size = "640"', "size = '640' is not allowed; it must be WxH such as 640x360"),
        ('size = "640x8"', "even numbers from 16 to 7680"),
        ('size = "7682x4320"', "even numbers from 16 to 7680"),
        ('size = "641x360"', "even numbers from 16 to 7680"),
        ('size = ["640", 360]', "size = ['640', 360] is not allowed"),
        ("fps = 0", "fps = 0 is not allowed; it must be more than 0 and at most 240"),
        ('name = "a b"', "name = 'a b' is not allowed; it must be 1 to 64 letters"),
        (f'name = "{"n" * 65}"', "it must be 1 to 64 letters"),
        ('recognize = "boxes/coco"', "recognize = 'boxes/coco' is not allowed; it must be a list of model names"),
        ('recognize = ["boxes/coco", 3]', "recognize = 3 is not allowed"),
        ('generate = ""', "generate = '' is not allowed"),
        ("loop = 1", "loop = 1 is not allowed; it must be true"),
        ('models = false\ngenerate = "style"', "generate asks for a model, and models = false for none"),
    ],
)
def test_wrong_stream_setting_names_key_value_and_allowed(tmp_path: Path, line: str, message: str) -> None:
    assert message in error_of(tmp_path, f'[[stream]]\nsource = "test:"\n{line}\n')


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("port = 65536", "[server] port = 65536 is not allowed; it must be 1 to 65535, or 0 for any free port"),
        ("port = -1", "port = -1 is not allowed"),
        ("port = true", "port = True is not allowed"),
        ('host = "http://x/"', "host = 'http://x/' is not allowed"),
        ('device = "gpu"', "device = 'gpu' is not allowed; it must be auto, cpu, cuda:N"),
        ("prt = 1", "[server] unknown key 'prt'; did you mean port?"),
        ("streams = []", "[server] unknown key 'streams'; write a [[stream]] table"),
    ],
)
def test_wrong_server_setting_names_key_value_and_allowed(tmp_path: Path, line: str, message: str) -> None:
    assert message in error_of(tmp_path, f'[server]\n{line}\n[[stream]]\nsource = "test:"\n')


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "[[stream]] is missing; it must be at least one [[stream]] table"),
        ('[[stream]]\nname = "a"', "[[stream]] 1: source is missing"),
        ('stream = "test:"', "write stream as a table: [[stream]]"),
        ('[stream]\nsource = "test:"', "write stream as a table: [[stream]]"),
        ('stream = ["test:"]', "[[stream]] 1: 'test:' is not allowed; it must be a table of settings"),
        ("server = 3", "write server as a table: [server]"),
        ("strem = 3", "unknown key 'strem'; did you mean stream?"),
        ("no toml", "is not valid TOML: "),
        (
            '[[stream]]\nsource = "a"\n[[stream]]\nsource = "b"',
            "name = 'live' in [[stream]] 2 is taken by [[stream]] 1",
        ),
    ],
)
def test_wrong_file_says_what_to_write(tmp_path: Path, text: str, message: str) -> None:
    assert message in error_of(tmp_path, text)


def test_several_errors_show_first_and_count(tmp_path: Path) -> None:
    assert error_of(tmp_path, '[[stream]]\nsource = "a"\nfps = 0\nbudget_ms = 0').endswith("(and 1 more)")


def test_second_stream_is_counted_from_one(tmp_path: Path) -> None:
    text = '[[stream]]\nname = "a"\nsource = "a"\n[[stream]]\nname = "b"\nsource = "b"\nfps = 0\n'
    assert error_of(tmp_path, text).startswith("[[stream]] 2: fps = 0")


def test_unreadable_file_says_why(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no such file"):
        from_file(tmp_path / "none.toml")
    with pytest.raises(ConfigError, match="cannot be read"):
        from_file(tmp_path)
    binary = tmp_path / "clip.mp4"
    binary.write_bytes(b"\x00\xff\xfe")
    with pytest.raises(ConfigError, match="is not UTF-8"):
        from_file(binary)


def test_options_win_over_file(tmp_path: Path) -> None:
    path = tmp_path / "cams.toml"
    path.write_text('[server]\nport = 9000\ndevice = "cpu"\n[[stream]]\nsource = "a"\nsize = "64x64"\nmodels = false\n')
    settings = from_file(path, {"port": 0})
    assert (settings.port, settings.device) == (0, "cpu")
    assert settings.streams == from_file(path).streams
    with pytest.raises(ConfigError, match=r"^--port 70000 is not allowed"):
        from_file(path, {"port": 70000})


@pytest.mark.parametrize(
    ("server", "stream", "message"),
    [
        ({}, {"budget_ms": 0.0}, "--budget 0 is not allowed; it must be more than 0"),
        ({}, {"size": "big"}, "--size 'big' is not allowed; it must be WxH"),
        ({}, {"name": "ä"}, "--name 'ä' is not allowed"),
        ({}, {"source": ""}, "SOURCE '' is not allowed; it must be an address"),
        ({"port": 70000}, {}, "--port 70000 is not allowed"),
        ({"device": "cuda:0,cpu"}, {}, "--device 'cuda:0,cpu' is not allowed; it must be auto, cpu, cuda:N"),
    ],
)
def test_wrong_option_is_named_as_typed(server: dict[str, object], stream: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        from_options(server, {"source": "test:", **stream})
    assert str(caught.value).startswith(message)


def test_long_value_is_cut(tmp_path: Path) -> None:
    assert len(error_of(tmp_path, f'[[stream]]\nsource = "a"\nsize = "{"x" * 5000}"')) < 250


@given(width=st.integers(0, 9000), height=st.integers(0, 9000))
def test_size_is_taken_exactly_when_in_range_and_even(width: int, height: int) -> None:
    allowed = all(16 <= side <= 7680 and side % 2 == 0 for side in (width, height))
    try:
        assert from_options({}, {"source": "a", "size": f"{width}x{height}"}).streams[0].size == (width, height)
        assert allowed
    except ConfigError:
        assert not allowed


@given(st.text(max_size=80))
def test_any_text_as_file_gives_config_or_one_line(text: str) -> None:
    stream = {"source": text, "name": text, "size": text, "generate": text}
    for key in stream:
        try:
            from_options({}, {"source": "a", key: stream[key]})
        except ConfigError as error:
            assert "\n" not in str(error)


def test_cache_dir_follows_the_desktop_rule(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert config.cache_dir() == tmp_path / "livelens"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert config.cache_dir() == tmp_path / ".cache" / "livelens"
