"""What the adapters of all frameworks share."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from importlib import import_module
from pathlib import Path
from typing import Any, cast

import pytest

from session_continuity import AsyncSessionManager, ConfigError, Message, NewMessage, SessionManager
from session_continuity_agents.handles import ManagerHandle
from session_continuity_agents.keeping import keep, kept
from session_continuity_agents.keys import session_key
from session_continuity_agents.settling import settled

from .frameworks import FRAMEWORKS, Framework


@pytest.fixture
def handle(url: str) -> Iterator[ManagerHandle]:
    """A handle of an empty store."""
    opened = ManagerHandle(url, None)
    yield opened
    opened.run(opened.aclose())


def said(manager: AsyncSessionManager, text: str) -> Any:
    return manager.add_messages("s", [{"role": "user", "content": text}], create={})


def test_a_handle_serves_every_loop_and_blocking_code(handle: ManagerHandle) -> None:
    asyncio.run(said(handle.manager, "one"))
    asyncio.run(said(handle.manager, "two"))
    handle.run(said(handle.manager, "three"))
    thread = threading.Thread(target=lambda: asyncio.run(said(handle.manager, "four")))
    thread.start()
    thread.join()

    async def inside_of_a_loop() -> list[Any]:
        handle.run(said(handle.manager, "five"))
        return [message.content for message in await handle.manager.get_messages("s")]

    assert asyncio.run(inside_of_a_loop()) == ["one", "two", "three", "four", "five"]


@pytest.mark.on(url=["memory"])
def test_handles_of_one_url_share_a_manager_until_the_last_is_closed(url: str) -> None:
    one, other = ManagerHandle(url, None), ManagerHandle(url, None)
    first = one.manager
    assert other.manager is first
    asyncio.run(one.aclose())
    asyncio.run(one.aclose())
    assert ManagerHandle(url, None).manager is first
    asyncio.run(said(other.manager, "still open"))


@pytest.mark.on(url=["sqlite"])
def test_a_closed_handle_opens_its_store_again(handle: ManagerHandle) -> None:
    before = handle.manager
    handle.run(handle.aclose())
    handle.run(said(handle.manager, "again"))
    assert handle.manager is not before


@pytest.mark.on(url=["sqlite"])
def test_a_forked_child_opens_its_own_manager(url: str) -> None:
    """As a server does that loads the application before it forks its workers."""
    program = f"""if True:
        import os
        from session_continuity_agents.handles import ManagerHandle
        handle = ManagerHandle({url!r}, None)
        say = lambda text: handle.run(
            handle.manager.add_messages("s", [dict(role="user", content=text)], create=dict())
        )
        say("parent")
        if os.fork() == 0:
            say("child")
            os._exit(0)
        assert os.wait()[1] == 0
        said = handle.run(handle.manager.get_messages("s"))
        assert [message.content for message in said] == ["parent", "child"], said
        handle.run(handle.aclose())
    """
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60)
    assert (run.returncode, run.stderr) == (0, "")


@pytest.mark.on(url=["memory"])
def test_a_manager_that_is_given_stays_open(url: str) -> None:
    async def main() -> None:
        async with AsyncSessionManager.open(url) as manager:
            handle = ManagerHandle(None, manager)
            assert handle.manager is manager
            await handle.aclose()
            await said(manager, "still open")

    asyncio.run(main())


def test_what_cannot_be_opened_is_refused_at_once() -> None:
    with pytest.raises(ConfigError, match="a url or a manager, not both"):
        ManagerHandle("memory://", AsyncSessionManager.open("memory://"))
    with closing(SessionManager.open("memory://")) as blocking, pytest.raises(ConfigError, match="AsyncSessionManager"):
        ManagerHandle(None, cast("AsyncSessionManager", blocking))
    with pytest.raises(ConfigError, match="SESSION_CONTINUITY_URL"):
        ManagerHandle(None, None)


def test_keys_of_different_parts_are_different() -> None:
    parts = [("a", "b"), ("a/b",), ("a", "", "b"), ("a%2Fb",), ("", "a", "b"), ("ä",), ("a" * 300,), ("a" * 301,)]
    keys = [session_key("app", *each) for each in parts]
    assert len(set(keys)) == len(keys)
    assert max(map(len, keys)) <= 256
    assert keys == [session_key("app", *each) for each in parts]


ITEMS: list[Any] = [
    {"a": [1, 1.5, None]},
    "text",
    {"lone": "\ud800"},
    {"huge": 1e400},
    {"deep": eval("[" * 150 + "]" * 150)},
]


@pytest.mark.parametrize("item", ITEMS, ids=["json", "text", "surrogate", "infinite", "deep"])
def test_an_item_beside_a_message_comes_back_equal(item: Any) -> None:
    message = keep(NewMessage(role="user", content="hi"), "framework", item)
    assert kept(NewMessage.model_validate_json(message.model_dump_json()), "framework") == item
    assert kept(message, "other") is None


def test_an_item_beside_a_message_that_was_changed_is_forgotten() -> None:
    """A text that was removed from a message must not come back from its item."""
    metadata: dict[str, Any] = {"tool_calls": [{"id": "1", "name": "f", "arguments": {"x": 1.0}}]}
    message = keep(NewMessage(role="assistant", content="secret", metadata=metadata), "framework", {"raw": "secret"})
    assert kept(message.model_copy(update={"content": "removed"}), "framework") is None
    assert kept(message.model_copy(update={"content": "secret"}), "framework") == {"raw": "secret"}


def test_a_cancelled_write_ends_before_its_cancellation_is_raised() -> None:
    async def main() -> None:
        gate, written = asyncio.Event(), list[str]()

        async def write() -> None:
            await gate.wait()
            written.append("done")

        task = asyncio.ensure_future(settled(write()))
        for _ in range(3):
            await asyncio.sleep(0)
            task.cancel()
        assert not task.done()
        gate.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert written == ["done"]

    asyncio.run(main())


def test_a_cancelled_write_that_fails_says_so() -> None:
    async def main() -> None:
        async def write() -> None:
            await asyncio.sleep(0)
            raise ValueError("refused")

        task = asyncio.ensure_future(settled(write()))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError) as cancelled:
            await task
        assert "refused" in cancelled.value.__notes__[0]

    asyncio.run(main())


@pytest.mark.parametrize("framework", FRAMEWORKS, ids=lambda framework: framework.module)
def test_a_module_imports_its_own_framework_and_none_other(framework: Framework, tmp_path: Path) -> None:
    others = [name for each in FRAMEWORKS for name in each.packages if name not in framework.may_import]
    program = f"""if True:
        import sys
        class Refuse:
            def find_spec(self, name, path=None, target=None):
                assert name not in {others!r}, name
        sys.meta_path.insert(0, Refuse())
        import session_continuity_agents, session_continuity_agents.handles, session_continuity_agents.keeping
        loaded = {{name for name in {[*framework.packages]!r} if name in sys.modules}}
        assert not loaded, loaded
        import session_continuity_agents.{framework.module}
    """
    run = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120
    )
    assert (run.returncode, run.stderr) == (0, "")


@pytest.mark.parametrize("framework", FRAMEWORKS, ids=lambda framework: framework.module)
def test_a_module_says_with_which_version_it_was_tested(framework: Framework) -> None:
    said = import_module(f"session_continuity_agents.{framework.module}").__doc__ or ""
    assert f"Tested with {framework.distribution} {framework.version}" in said


def test_a_message_from_a_store_has_the_digest_of_the_one_that_was_added(handle: ManagerHandle) -> None:
    result = {"tool_call_id": "1", "result": {"x": 1.0, "y": [None, True]}}
    batch = [
        keep(NewMessage(role="user", content=[{"type": "text", "text": "ä"}]), "framework", "a"),
        keep(
            NewMessage.model_validate({"role": "tool", "content": "", "metadata": {"tool_results": [result]}}),
            "framework",
            "b",
        ),
    ]

    async def main() -> list[Message]:
        await handle.manager.add_messages("s", batch, create={})
        return list(await handle.manager.get_messages("s"))

    assert [kept(message, "framework") for message in handle.run(main())] == ["a", "b"]
