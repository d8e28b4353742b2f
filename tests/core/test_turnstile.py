"""`Turnstile`: one at a time for one name, in both modes."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import pytest

from session_continuity import Mode, Turnstile

from ..kit.modes import MODES, ModeRunner

pytestmark = pytest.mark.on(mode=MODES)


@pytest.fixture
def mode(request: pytest.FixtureRequest) -> Mode:
    mode: Mode = request.param
    return mode


@pytest.fixture
def runner(mode: Mode) -> Iterator[ModeRunner]:
    held = ModeRunner(mode)
    yield held
    held.close()


class Inside:
    """Counts those that work at once."""

    def __init__(self) -> None:
        self.now = self.most = 0

    async def work(self) -> str:
        self.now += 1
        self.most = max(self.most, self.now)
        if asyncio_is_running():
            await pause()
        self.now -= 1
        return "done"


def asyncio_is_running() -> bool:
    import asyncio

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


async def pause() -> None:
    import asyncio

    await asyncio.sleep(0)


def test_one_works_at_a_time(mode: Mode, runner: ModeRunner) -> None:
    turnstile, inside = Turnstile(mode), Inside()
    calls = [partial(turnstile.turn, "name", inside.work)] * 8
    assert runner.run_together(*calls) == ["done"] * 8
    assert inside.most == 1


def test_a_turn_ends_with_its_error(mode: Mode, runner: ModeRunner) -> None:
    turnstile = Turnstile(mode)

    async def fail() -> None:
        raise RuntimeError("broken")

    for _ in range(2):
        with pytest.raises(RuntimeError, match="broken"):
            runner.run(turnstile.turn("name", fail))
