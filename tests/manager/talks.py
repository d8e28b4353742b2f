"""Conversations for tests, in shorthand, and what a context of them must hold, worked out the long way."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from hypothesis import strategies as st

from session_continuity import Message

IDS = ("a", "b", "c", "d", "e", "f")


def said(
    text: str, *, role: str = "user", calls: Iterable[str] = (), results: Iterable[str] = (), tokens: int = 1
) -> dict[str, Any]:
    """One message of so many tokens."""
    metadata = {
        "tool_calls": [{"id": call, "name": "f"} for call in calls],
        "tool_results": [{"tool_call_id": result, "result": "r"} for result in results],
    }
    return {"role": role, "content": text, "metadata": metadata, "token_count": tokens}


def asked(*calls: str, tokens: int = 1) -> dict[str, Any]:
    return said("call " + " ".join(calls), role="assistant", calls=calls, tokens=tokens)


def answered(*results: str, tokens: int = 1) -> dict[str, Any]:
    return said("result " + " ".join(results), role="tool", results=results, tokens=tokens)


def system(text: str = "rule", tokens: int = 1) -> dict[str, Any]:
    return said(text, role="system", tokens=tokens)


def calls_of(message: Message) -> set[str]:
    return {call.id for call in message.metadata.tool_calls}


def results_of(message: Message) -> set[str]:
    return {result.tool_call_id for result in message.metadata.tool_results}


def _links(messages: Sequence[Message]) -> tuple[list[tuple[int, int]], set[int]]:
    """(call, result) by places, each result with the latest call of its id up to it; and the places that lack one."""
    links: list[tuple[int, int]] = []
    halves: set[int] = set()
    unanswered = {(place, call) for place, message in enumerate(messages) for call in calls_of(message)}
    for place, message in enumerate(messages):
        for result in results_of(message):
            callers = [at for at in range(place + 1) if result in calls_of(messages[at])]
            if callers:
                links.append((callers[-1], place))
                unanswered.discard((callers[-1], result))
            else:
                halves.add(place)
    return links, halves | {place for place, _ in unanswered}


def units(messages: Sequence[Message]) -> list[list[int]]:
    """The places that go together, without those of which a half is missing; by their oldest place."""
    links, halves = _links(messages)
    group = list(range(len(messages)))
    for _ in messages:
        for caller, answer in links:
            group[caller] = group[answer] = min(group[caller], group[answer])
    together = [[place for place in range(len(messages)) if group[place] == root] for root in sorted(set(group))]
    return [unit for unit in together if halves.isdisjoint(unit)]


def expected_context(messages: Sequence[Message], limit: int | None) -> list[Message]:
    """System messages, and of the rest the newest whole units until the first that does not fit."""
    tokens = [message.token_count or 0 for message in messages]
    spoken = [place for place, message in enumerate(messages) if message.role != "system"]
    kept = {place for place, message in enumerate(messages) if message.role == "system"}
    room = None if limit is None else limit - sum(tokens[place] for place in kept)
    for unit in reversed(units([messages[place] for place in spoken])):
        places = [spoken[place] for place in unit]
        size = sum(tokens[place] for place in places)
        if room is not None:
            if size > room:
                break
            room -= size
        kept.update(places)
    return [messages[place] for place in sorted(kept)]


def has_only_whole_pairs(messages: Sequence[Message]) -> bool:
    _, halves = _links([message for message in messages if message.role != "system"])
    return not halves


_ids = st.sets(st.sampled_from(IDS), max_size=2)
conversations = st.lists(
    st.one_of(
        st.builds(said, st.just("words"), tokens=st.integers(0, 9)),
        st.builds(system, tokens=st.integers(0, 3)),
        st.builds(
            said, st.just("tools"), role=st.just("assistant"), calls=_ids, results=_ids, tokens=st.integers(0, 9)
        ),
        st.builds(said, st.just("call"), role=st.just("assistant"), calls=_ids, tokens=st.integers(0, 4)),
        st.builds(said, st.just("result"), role=st.just("tool"), results=_ids, tokens=st.integers(0, 9)),
    ),
    max_size=25,
)
"""Anything: calls in the air, results without calls, ids used again."""


def with_ids_used_once(turn: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The conversation without the calls and results whose id was called or answered before."""
    seen: set[tuple[str, str]] = set()
    for message in turn:
        for kind, name in (("tool_calls", "id"), ("tool_results", "tool_call_id")):
            held = message["metadata"][kind]
            message["metadata"][kind] = [entry for entry in held if (kind, entry[name]) not in seen]
            seen.update((kind, entry[name]) for entry in held)
    return turn
