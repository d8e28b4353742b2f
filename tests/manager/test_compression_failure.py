"""A summarizer that fails, hangs or returns nonsense costs neither the history nor the turn."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from typing import Any

import pytest

from session_continuity import CompressionError, CompressionFailed, Message, SessionManager

from ..kit.clocks import Clock
from ..kit.conversations import answered, asked, contents, said
from ..kit.recording import RecordingAdapter
from .context_oracle import problems
from .summarizers import INTRODUCTION, RecordingSummarizer, compressing, write
from .variants import ON_MEMORY, Variant

pytestmark = pytest.mark.on(variant=ON_MEMORY)


def talking(variant: Variant, store: RecordingAdapter, summarizer: Any, **options: Any) -> tuple[SessionManager, str]:
    """A manager, and the id of a session whose messages overflow its budget."""
    manager = variant.manager(store, summarizer=summarizer, **options)
    session = manager.create_session(token_budget=compressing(40), compression="summarization")
    write(manager, session.id, "abcdefgh", tokens=6)
    return manager, session.id


def test_the_chat_goes_on_without_a_summary_and_the_summarizer_is_left_alone_for_a_while(
    variant: Variant, store: RecordingAdapter, clock: Clock, summarizer: RecordingSummarizer
) -> None:
    manager, session_id = talking(variant, store, summarizer, summarizer_pause=30)
    failures: list[CompressionFailed] = []
    manager.on(CompressionFailed, failures.append)
    summarizer.error = ConnectionError("secret")
    for _ in range(3):
        assert contents(manager.get_conversation_context(session_id)) == list("cdefgh")
    assert len(summarizer.received) == 1
    [failure] = failures
    assert (failure.session_id, failure.strategy) == (session_id, "summarization")
    assert (failure.retry_at - failure.at).total_seconds() == 30
    assert isinstance(failure.error, CompressionError)
    assert "secret" not in str(failure.error)
    clock.advance(seconds=30)
    summarizer.error = None
    assert contents(manager.get_conversation_context(session_id)) == [INTRODUCTION + "[a,b,c,d,e]", "f", "g", "h"]
    assert len(failures) == 1


def test_a_summarizer_that_hangs_has_a_time_limit(variant: Variant, store: RecordingAdapter) -> None:
    released = threading.Event()

    def hang(*_: Any, **__: Any) -> str:
        released.wait(60)
        return "late"

    manager, session_id = talking(variant, store, hang, summarizer_timeout=0.05)
    try:
        assert contents(manager.get_conversation_context(session_id)) == list("cdefgh")
        with pytest.raises(CompressionError, match=r"longer than 0\.05 seconds; raise summarizer_timeout"):
            manager.compress_context(session_id)
    finally:
        released.set()
    assert manager.get_session(session_id).version == 1


@pytest.mark.on(variant=("async-memory", "portal-memory"))
def test_a_coroutine_that_hangs_is_cancelled(variant: Variant, store: RecordingAdapter) -> None:
    cancelled: list[bool] = []

    async def hang(*_: Any, **__: Any) -> str:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(True)
            raise
        return ""

    manager, session_id = talking(variant, store, hang, summarizer_timeout=0.05)
    assert contents(manager.get_conversation_context(session_id)) == list("cdefgh")
    assert cancelled == [True]


@pytest.mark.parametrize("answer", ["", "  ", None, 5, b"x", "\ud800", "word " * 500])
def test_nonsense_is_not_stored(variant: Variant, store: RecordingAdapter, answer: Any) -> None:
    manager, session_id = talking(variant, store, lambda *_, **__: answer)
    assert contents(manager.get_conversation_context(session_id)) == list("cdefgh")
    assert manager.get_session(session_id).compression_state is None


def test_a_summarizer_may_do_what_it_likes_with_its_list(variant: Variant, store: RecordingAdapter) -> None:
    def greedy(messages: Sequence[Message], *, previous: str | None, prompt: str | None) -> str:
        del previous, prompt
        assert isinstance(messages, list)
        return "".join(str(messages.pop(0).content) for _ in range(len(messages)))

    manager, session_id = talking(variant, store, greedy)
    assert contents(manager.get_conversation_context(session_id)) == [INTRODUCTION + "abcde", "f", "g", "h"]


def test_old_results_of_tools_are_shortened_first(variant: Variant, store: RecordingAdapter, clock: Clock) -> None:
    manager = variant.manager(store)
    session = manager.create_session(token_budget=compressing(1000), compression="micro")
    for number in range(4):
        clock.advance(seconds=1)
        result = {"tool_call_id": str(number), "result": "word " * 300}
        manager.add_messages(session.id, [said("u"), asked(str(number))])
        clock.advance(seconds=1)
        manager.add_message(session.id, "tool", "", metadata={"tool_results": [result]})
    context = manager.get_conversation_context_with_stats(session.id)
    sizes = [
        len(str(message.metadata.tool_results[0].result)) for message in context.messages if message.role == "tool"
    ]
    assert len(context.messages) == 12
    assert max(sizes[:3]) < 200
    assert sizes[3] == 1500
    assert list(problems(context.messages)) == []
    assert [entry.action for entry in context.report].count("cut") == 3
    version = manager.get_session(session.id).version
    clock.advance(seconds=1)
    manager.add_messages(session.id, [said("u"), said("a", role="assistant")])
    assert manager.get_conversation_context(session.id)[:12] == context.messages
    assert manager.get_session(session.id).version == version == 2


def test_micro_drops_old_turns_when_shortening_is_not_enough(variant: Variant, store: RecordingAdapter) -> None:
    manager = variant.manager(store)
    session = manager.create_session(token_budget=compressing(100), compression="micro")
    for number in range(30):
        manager.add_messages(session.id, [said(f"u{number}", tokens=5), asked(f"{number}"), answered(f"{number}")])
        context = manager.get_conversation_context_with_stats(session.id)
        assert context.budget.used <= 103
        assert list(problems(context.messages)) == []
    assert context.compression is not None
    assert context.compression.covered_messages > 30
