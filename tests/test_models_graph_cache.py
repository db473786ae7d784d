"""Graphs on disk: whole or not there."""

import pytest

from models.graph_cache import cache_folder, forget, graph_folder, keep


@pytest.fixture(autouse=True)
def empty_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


def write(folder):
    (folder / "graph").write_text("whole")


def test_cache_folder_follows_xdg_and_ignores_relative_paths(monkeypatch, tmp_path):
    assert cache_folder() == tmp_path / "livelens"
    monkeypatch.setenv("XDG_CACHE_HOME", "somewhere")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "livelens"


def test_what_is_kept_is_whole_and_nothing_else_is_left():
    assert keep(graph_folder("one"), write)
    assert (graph_folder("one") / "graph").read_text() == "whole"
    assert [path.name for path in graph_folder("one").parent.iterdir()] == ["one"]


def test_writing_that_fails_leaves_nothing_and_warns(caplog):
    def fail(folder):
        write(folder)
        raise OSError("disk full")

    assert not keep(graph_folder("one"), fail)
    assert list(graph_folder("one").parent.iterdir()) == []
    assert "disk full" in caplog.text


def test_another_process_that_was_first_is_no_failure(caplog):
    keep(graph_folder("one"), write)
    assert keep(graph_folder("one"), write)
    assert not caplog.text


def test_damaged_graph_is_forgotten(caplog):
    keep(graph_folder("one"), write)
    forget(graph_folder("one"), "cut off")
    assert not graph_folder("one").exists()
    assert "cut off" in caplog.text
