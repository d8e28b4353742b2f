"""Fixtures of the Firestore tests. A test says with `@pytest.mark.on(mode=...)` in which modes it runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from session_continuity import Mode

from ..kit.firestore_emulator import MissingEmulatorError, run_emulator
from ..kit.missing import skip_test
from .bench import Bench


@pytest.fixture(scope="session")
def emulator() -> Iterator[str]:
    """host:port of an emulator that all tests of the run share."""
    with ExitStack() as stack:
        try:
            address = stack.enter_context(run_emulator())
        except MissingEmulatorError as missing:
            skip_test(str(missing))
        yield address


@pytest.fixture
def mode(request: pytest.FixtureRequest) -> Mode:
    """One of the modes that the test's marker `on` lists, blocking where it lists none."""
    mode: Mode = getattr(request, "param", "blocking")
    return mode


@pytest.fixture
def bench(emulator: str, mode: Mode) -> Iterator[Bench]:
    """Opens stores in a new project, in the mode."""
    opened = Bench(emulator, mode)
    yield opened
    opened.close()
