"""Fixtures for the tests of the managers: every test that takes `face` runs on each face."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from session_continuity import SessionManager

from .faces import FACES, Clock, Face, FaceName, Watched
from .scribes import AsyncScribe, Scribe

settings.register_profile("manager", deadline=None, max_examples=60)
settings.load_profile("manager")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A module says in FACES and STORES where it runs: on every face, and on the reference alone, if it does not.
    The bridges are run on the reference only."""
    if "face" in metafunc.fixturenames:
        faces = getattr(metafunc.module, "FACES", FACES)
        stores = getattr(metafunc.module, "STORES", ("memory",))
        pairs = [(face, "memory") for face in faces] + [
            (face, store) for store in stores if store != "memory" for face in ("blocking", "async")
        ]
        metafunc.parametrize("face", pairs, ids="-".join, indirect=True)


@pytest.fixture
def face(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Face]:
    name: FaceName
    name, store = request.param
    opened = Face(name, "memory://" if store == "memory" else f"sqlite:///{tmp_path}/test.db")
    yield opened
    opened.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(face: Face, clock: Clock) -> Watched:
    """A fresh store on a clock of the test's own."""
    return face.store(clock=clock)


@pytest.fixture
def manager(face: Face, store: Watched) -> SessionManager:
    return face.manager(store)


@pytest.fixture(params=[Scribe, AsyncScribe])
def scribe(request: pytest.FixtureRequest) -> Scribe:
    made: Scribe = request.param()
    return made
