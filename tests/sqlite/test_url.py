"""Config strings and constructor arguments: all that can be said of a store before it is opened."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import pytest

from session_continuity import ConfigError, PluginError, Registry, open_storage, parse_url, run_now
from session_continuity_sqlite import SqliteStorage
from session_continuity_sqlite.config import SqliteOptions


def options(url: str) -> SqliteOptions:
    return SqliteOptions.from_url(parse_url(url))


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite:///chat.db", "chat.db"),
        ("sqlite:///data/chat.db", "data/chat.db"),
        ("sqlite:////var/lib/chat.db", "/var/lib/chat.db"),
        ("sqlite:///with%20space%3F%23.db", "with space?#.db"),
    ],
)
def test_three_slashes_are_relative_and_four_absolute(url: str, path: str) -> None:
    assert options(url).path == path


def test_options_have_safe_defaults() -> None:
    stated = options("sqlite:///chat.db")
    assert (stated.busy_timeout, stated.synchronous, stated.namespace) == (10.0, "normal", "")


def test_every_option_reads_from_a_url() -> None:
    stated = options("sqlite:///chat.db?busy_timeout=2.5&synchronous=full&namespace=t1")
    assert (stated.busy_timeout, stated.synchronous, stated.namespace) == (2.5, "full", "t1")


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///", "sqlite:///:memory:", "sqlite://?namespace=x"])
def test_a_database_in_memory_is_refused_with_a_hint(url: str) -> None:
    with pytest.raises(ConfigError, match=r"memory://.*sqlite:///chat\.db"):
        options(url)


@pytest.mark.parametrize("path", [":memory:", ""])
def test_the_class_refuses_memory_too(path: str) -> None:
    with pytest.raises(ConfigError, match="path"):
        SqliteStorage(path)


def test_a_path_may_begin_with_two_slashes(tmp_path: Path) -> None:
    with open_storage(f"sqlite:////{tmp_path}/chat.db") as storage:
        assert storage.health().status == "healthy"
    assert (tmp_path / "chat.db").exists()


@pytest.mark.parametrize("url", ["sqlite://chat.db", "sqlite://host/chat.db", "sqlite://me@/chat.db"])
def test_a_host_is_refused_with_the_right_form(url: str) -> None:
    with pytest.raises(ConfigError, match="no host: write sqlite:///relative"):
        options(url)


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("busy_timeout=soon", "busy_timeout"),
        ("busy_timeout=-1", "busy_timeout"),
        ("busy_timeout=inf", "busy_timeout"),
        ("busy_timeout=nan", "busy_timeout"),
        ("synchronous=off", "synchronous"),
        ("synchronus=full", "did you mean synchronous"),
        ("path=other.db", "given twice"),
    ],
)
def test_a_wrong_option_is_named(query: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        options(f"sqlite:///chat.db?{query}")


def test_a_path_with_nul_is_refused() -> None:
    with pytest.raises(ConfigError, match="NUL"):
        options("sqlite:///chat%00.db")


def test_creating_an_adapter_touches_no_file(tmp_path: Path) -> None:
    store = Registry().create(f"sqlite:///{tmp_path}/chat.db", "blocking")
    assert store.mode == "blocking"
    assert os.listdir(tmp_path) == []
    run_now(store.close())


def test_a_relative_path_stays_where_it_was_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    store = SqliteStorage("chat.db")
    monkeypatch.chdir(tmp_path / "elsewhere")
    run_now(store.setup())
    run_now(store.close())
    assert (tmp_path / "chat.db").exists()


def test_an_old_sqlite_is_refused_with_its_version(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 36, 0))
    monkeypatch.setattr(sqlite3, "sqlite_version", "3.36.0")
    with pytest.raises(PluginError, match=r"needs SQLite 3\.37\.0 or newer.*3\.36\.0"):
        SqliteStorage("chat.db")


@pytest.mark.parametrize("name", ["with space.db", "per%cent.db", "q?m.db", "hash#.db", "ünï 🙂.db", "file:x.db"])
def test_any_file_name_works(tmp_path: Path, name: str) -> None:
    store = SqliteStorage(tmp_path / name)
    run_now(store.setup())
    assert run_now(store.health()).status == "healthy"
    assert name in os.listdir(tmp_path)
    run_now(store.close())
    assert os.listdir(tmp_path) == [name]
