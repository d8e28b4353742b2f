"""SRC: a search finds the messages that have every word of its text, and no other."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from session_continuity import (
    ForkedFrom,
    Message,
    MessageQuery,
    Patch,
    SessionNotFoundError,
    StorageAdapter,
    ValidationError,
)
from session_continuity_conformance.cases import clause
from session_continuity_conformance.checks import refused, same
from session_continuity_conformance.store_fixture import StoreFixture


async def matches(
    store: StoreFixture, text: str, *, limit: int = 100, on: StorageAdapter | None = None, **scope: Any
) -> list[Message]:
    """Every message that a search finds, from all pages."""
    adapter = on or store.adapter
    return await store.read_pages(lambda cursor: adapter.search_messages(text, limit=limit, cursor=cursor, **scope))


async def found(store: StoreFixture, text: str, **options: Any) -> list[Any]:
    """The contents of the messages that a search finds, sorted."""
    return sorted(str(message.content) for message in await matches(store, text, **options))


async def check_found(store: StoreFixture, expected: dict[str, list[str]]) -> None:
    """Check what each of these searches finds."""
    for text, contents in expected.items():
        same(f"messages with {text!r}", await found(store, text), sorted(contents))


@clause("SC-SRC-001")
async def test_message_is_found_by_its_words(store: StoreFixture) -> None:
    session = await store.create_session()
    order, both, other = "Where is my ORDER?", "an order, and an invoice", "reorder borders"
    await store.append(session.id, order, both, other)
    await check_found(
        store,
        {
            "order": [order, both],
            "ORDER": [order, both],
            "invoice order": [both],
            "order nothing": [],
            "ord": [order, both],
            "ord invoice": [],
            "order inv": [both],
            "rder": [],
            "re": [other],
            "is my": [order],
            "my is": [order],
            "is-my": [order],
            "my-is": [],
            "(order) !": [order, both],
        },
    )


@clause("SC-SRC-001")
async def test_operators_are_plain_text(store: StoreFixture) -> None:
    session = await store.create_session()
    plain, words = 'say "no" or not', "not near and or say"
    await store.append(session.id, plain, words)
    await check_found(
        store,
        {
            "say NOT no": [plain, words],
            "say AND no": [words],
            "say OR invoice": [],
            "say AND near": [words],
            '"no"': [plain, words],
            '"no" say': [plain],
            "sa*": [plain, words],
            "content:say": [],
            "^say": [plain, words],
            "say\0near": [],
            "say\0no": [plain],
        },
    )


@clause("SC-SRC-001")
async def test_words_of_any_script(store: StoreFixture) -> None:
    session = await store.create_session()
    german, chinese, hindi, thai, russian = (
        "Die Straße ist gesperrt",
        "今天天气很好",
        "मुझे हिन्दी पसंद है",
        "สวัสดีครับ",
        "Ёлка стоит дома",
    )
    french, wide, emoji = "un cafe\u0301 noir", "ＦＵＬＬ ｗｉｄｔｈ", "love ❤️ it"
    await store.append(session.id, german, chinese, hindi, thai, russian, french, wide, emoji)
    await check_found(
        store,
        {
            "STRASSE": [german],
            "天气": [chinese],
            "气天": [],
            "天 气": [chinese],
            "हिन्दी": [hindi],
            "สวัสดี": [thai],
            "ครับ": [thai],
            "ёлка": [russian],
            "елка": [],
            "caf\u00e9": [french],
            "cafe": [],
            "full width": [wide],
            "love it": [emoji],
            "❤️ love": [emoji],
        },
    )


@clause("SC-SRC-001")
async def test_search_without_a_word_is_refused(store: StoreFixture) -> None:
    await store.create_session()
    for text in ("", "  ", '"*" - !', "w " * 65):
        await refused(f"a search for {text!r}", store.adapter.search_messages(text, limit=9), ValidationError)
    same("messages with 64 words", await found(store, "w " * 64), [])


@clause("SC-SRC-001")
async def test_long_words_and_long_texts(store: StoreFixture) -> None:
    session = await store.create_session()
    long, text = "a" * 500 + "b", "word " * 5000 + "end"
    await store.append(session.id, long, text)
    same("a long word", await found(store, long), [long])
    same("its beginning", await found(store, "a" * 300), [long])
    same("another long word", await found(store, "a" * 500 + "c"), [])
    same("the end of a long text", await found(store, "end"), [text])


@clause("SC-SRC-002")
async def test_users_and_assistants_are_searched(store: StoreFixture) -> None:
    session = await store.create_session()
    for role in ("user", "assistant", "system", "tool"):
        await store.append(session.id, f"needle {role}", role=role)
    blocks: Any = [{"type": "text", "text": "a needle"}, {"type": "image", "url": "haystack"}, {"type": "x", "text": 5}]
    (with_blocks,) = await store.append(session.id, blocks, role="assistant")
    same("messages found", await found(store, "needle"), sorted(["needle assistant", "needle user", str(blocks)]))
    same("messages with a url", await found(store, "haystack"), [])
    same("the message found", (await matches(store, "a-needle"))[0], with_blocks)
    changed = await store.adapter.update_message(session.id, with_blocks.id, Patch({"role": "tool"}))
    same("messages found after a change of role", len(await matches(store, "needle")), 2)
    same("the role", changed.role, "tool")


@clause("SC-SRC-003")
async def test_scope_of_a_search(store: StoreFixture) -> None:
    mine, yours = await store.create_session(user_id="u"), await store.create_session(user_id="v")
    await store.append(mine.id, "needle one")
    await store.append(yours.id, "needle two")
    same("everywhere", await found(store, "needle"), ["needle one", "needle two"])
    same("the user's", await found(store, "needle", user_id="u"), ["needle one"])
    same("an unknown user's", await found(store, "needle", user_id="nobody"), [])
    same("the session's", await found(store, "needle", session_id=yours.id), ["needle two"])
    same("both", await found(store, "needle", session_id=yours.id, user_id="u"), [])
    await store.adapter.update_session(mine.id, Patch({"user_id": "v"}))
    same("the new user's", await found(store, "needle", user_id="v"), ["needle one", "needle two"])
    missing = store.adapter.search_messages("needle", session_id="absent", limit=9)
    await refused("a search of a missing session", missing, SessionNotFoundError)
    other = await store.open(".b")
    same("in another namespace", await found(store, "needle", on=other), [])
    if store.capabilities.owner_guard:
        view = store.adapter.view(owner="u")
        same("of an owner without sessions", await found(store, "needle", on=view), [])


@clause("SC-SRC-004")
async def test_pages_of_a_search(store: StoreFixture) -> None:
    sessions = [await store.create_session() for _ in range(3)]
    for session in sessions:
        await store.append(session.id, *(f"needle {number}" for number in range(5)))
    whole = await matches(store, "needle")
    for limit in (1, 2, 4):
        same(f"ids in pages of {limit}", await matches(store, "needle", limit=limit), whole)
    for session in sessions:
        own = [message for message in whole if message.session_id == session.id]
        history = await store.adapter.get_messages(session.id, MessageQuery(order="desc"))
        same("the messages of a session, the last first", own, list(history))
    changes = sum(one.session_id != following.session_id for one, following in pairwise(whole))
    same("changes from one session to another", changes, 2)


@clause("SC-SRC-004")
async def test_pages_of_a_search_go_on_while_others_write(store: StoreFixture) -> None:
    sessions = [await store.create_session() for _ in range(2)]
    for session in sessions:
        await store.append(session.id, *(f"needle {number}" for number in range(4)))
    before = [message.id for message in await matches(store, "needle")]
    page = await store.adapter.search_messages("needle", limit=3)
    await store.adapter.delete_message(page[2].session_id, page[2].id)
    for session in sessions:
        await store.append(session.id, "needle new")
    met = [message.id for message in page]
    cursor = page.next_cursor
    other: list[tuple[str, dict[str, Any]]] = [("other", {}), ("needle", {"session_id": sessions[0].id})]
    for text, scope in other:
        call = store.adapter.search_messages(text, limit=3, cursor=cursor, **scope)
        await refused("the cursor of another search", call, ValidationError)
    while cursor is not None:
        page = await store.adapter.search_messages("needle", limit=3, cursor=cursor)
        met += [message.id for message in page]
        cursor = page.next_cursor
    same("messages that were there throughout", [each for each in met if each in before], before)
    same("messages met twice", len(met) - len(set(met)), 0)


@clause("SC-SRC-005")
async def test_search_shows_every_write_at_once(store: StoreFixture) -> None:
    session = await store.create_session()
    first, second, third = await store.append(session.id, "needle 1", "needle 2", "needle 3")
    await store.adapter.update_message(session.id, second.id, Patch({"content": "thread"}))
    same("after an edit", await found(store, "needle"), ["needle 1", "needle 3"])
    same("the new text", await found(store, "thread"), ["thread"])
    await store.adapter.delete_message(session.id, first.id)
    same("after a delete", await found(store, "needle"), ["needle 3"])
    await store.append(session.id, "needle 4")
    if store.capabilities.tail_replacement:
        await store.adapter.replace_tail(session.id, third.id, [store.message(session.id, "needle 5")])
        same("after a replacement", await found(store, "needle"), ["needle 3", "needle 5"])
    await store.adapter.delete_all_messages(session.id)
    same("after a delete of all", await found(store, "needle"), [])
    other = await store.create_session()
    await store.append(other.id, "needle 6")
    await store.adapter.delete_session(other.id)
    same("after a delete of the session", await found(store, "needle"), [])


@clause("SC-SRC-005")
async def test_copies_of_a_fork_are_found_by_themselves(store: StoreFixture) -> None:
    session = await store.create_session()
    first, _ = await store.append(session.id, "needle 1", "needle 2")
    if not store.capabilities.forks:
        return
    fork = store.new_session(forked_from=ForkedFrom(session_id=session.id, message_id=first.id))
    await store.adapter.fork_session(session.id, fork, through_id=first.id)
    same("messages of the fork", await found(store, "needle", session_id=fork.id), ["needle 1"])
    same("messages of both", await found(store, "needle"), ["needle 1", "needle 1", "needle 2"])
    await store.adapter.delete_session(session.id)
    same("after a delete of the source", [each.session_id for each in await matches(store, "needle")], [fork.id])


@clause("SC-SRC-005")
async def test_expired_sessions_are_not_searched(store: StoreFixture) -> None:
    session = await store.expiring_session()
    await store.append(session.id, "needle")
    same("before", await found(store, "needle"), ["needle"])
    await store.expire(session)
    same("after", await found(store, "needle"), [])
