"""Fixtures of the manager's tests. A test says with `@pytest.mark.on(variant=...)` which variants it runs on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from session_continuity import SessionManager

from ..kit.clocks import Clock
from ..kit.recording import RecordingAdapter
from .summarizers import AsyncRecordingSummarizer, RecordingSummarizer
from .variants import Variant, VariantName

settings.register_profile("manager", deadline=None, max_examples=60)
settings.load_profile("manager")


@pytest.fixture
def variant(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Variant]:
    """How the test reaches its managers and stores, one of those that its marker `on` lists."""
    name: VariantName = request.param
    opened = Variant(name, tmp_path)
    yield opened
    opened.close()


@pytest.fixture
def clock() -> Clock:
    """The clock of `store`."""
    return Clock()


@pytest.fixture
def store(variant: Variant, clock: Clock) -> RecordingAdapter:
    """An empty store."""
    return variant.store(clock=clock)


@pytest.fixture
def manager(variant: Variant, store: RecordingAdapter) -> SessionManager:
    """A manager on `store` with the default options."""
    return variant.manager(store)


@pytest.fixture(params=[RecordingSummarizer, AsyncRecordingSummarizer])
def summarizer(request: pytest.FixtureRequest) -> RecordingSummarizer:
    """A summarizer, as a plain function and as a coroutine function."""
    created: RecordingSummarizer = request.param()
    return created
