"""ISO: sessions and namespaces do not mix."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta

from session_continuity import (
    ForkedFrom,
    Message,
    MessageNotFoundError,
    MessageQuery,
    Patch,
    Session,
    SessionExistsError,
    SessionFilter,
    SessionNotFoundError,
    StorageAdapter,
)
from session_continuity_conformance.cases import clause
from session_continuity_conformance.checks import present, refused, same, same_models
from session_continuity_conformance.store_fixture import FAR, LONG_LIFE, NotApplicableError, StoreFixture


@clause("SC-ISO-001")
async def test_session_reads_its_own_messages_only(store: StoreFixture) -> None:
    mine, other = await store.create_session(), await store.create_session()
    (message,) = await store.append(mine.id, "mine")
    (foreign,) = await store.append(other.id, "other", role="system", tokens=50)
    same("conversation", await store.texts(mine.id), ["mine"])
    same("get_message of another's", await store.adapter.get_message(mine.id, foreign.id), None)
    same("messages by another's id", await store.texts(mine.id, ids=frozenset({message.id, foreign.id})), ["mine"])
    call = store.adapter.get_messages(mine.id, MessageQuery(after_id=foreign.id))
    await refused("get_messages after another's message", call, MessageNotFoundError)
    found = await store.current(mine.id)
    same("count, tokens", (found.message_count, found.token_count, found.system_message_ids), (1, 1, list[str]()))


@clause("SC-ISO-002")
async def test_messages_cannot_be_changed_through_another_session(store: StoreFixture) -> None:
    mine, other = await store.create_session(), await store.create_session()
    for message in (*await store.append(mine.id, "mine"), store.message(mine.id, "chosen", id="chosen")):
        if message.id == "chosen":
            await store.append_with_ids(message)
        before = [await store.current(mine.id), await store.current(other.id)]
        edit = store.adapter.update_message(other.id, message.id, Patch({"content": "changed", "token_count": 9}))
        await refused("update_message through another session", edit, MessageNotFoundError)
        same("delete_message through another", await store.adapter.delete_message(other.id, message.id), False)
        same_models("both sessions", [await store.current(mine.id), await store.current(other.id)], before)
    await store.adapter.delete_all_messages(other.id)
    same("conversation", await store.texts(mine.id), ["mine", "chosen"])


@clause("SC-ISO-003")
async def test_two_sessions_may_use_the_same_message_id(store: StoreFixture) -> None:
    sessions = [await store.create_session(), await store.create_session()]
    for session in sessions:
        await store.append_with_ids(store.message(session.id, f"of {session.id}", id="1"))
    for session in sessions:
        same("its message", await store.texts(session.id), [f"of {session.id}"])
    await store.adapter.update_message(sessions[0].id, "1", Patch({"content": "edited"}))
    await store.adapter.delete_message(sessions[0].id, "1")
    found = present("the other's message", await store.adapter.get_message(sessions[1].id, "1"))
    same("the other's message", found.content, f"of {sessions[1].id}")


@clause("SC-ISO-004")
async def test_namespaces_do_not_see_each_other(store: StoreFixture) -> None:
    other = await store.open("-other")
    await _write(store, store.adapter, "mine")
    same("a session of the same id in another namespace", await other.get_session("same"), None)
    same("its delete", await other.delete_session("same"), False)
    await _write(store, other, "other")
    await _shows(store, store.adapter, "mine")
    await _shows(store, other, "other")
    await other.delete_session("same")
    await _shows(store, store.adapter, "mine")


@clause("SC-ISO-006")
async def test_similar_namespaces_do_not_mix(store: StoreFixture) -> None:
    parts = ("", ":", "a", ":a", ":same", "#", "/..", "*", "{x}", " é👍", "%3A", "A")
    adapters = {part: await store.open(part) for part in parts}
    for part, adapter in adapters.items():
        await _write(store, adapter, f"of {part!r}")
    for part, adapter in adapters.items():
        await _shows(store, adapter, f"of {part!r}")


async def _write(store: StoreFixture, adapter: StorageAdapter, text: str) -> None:
    original = store.new_session(id="same", user_id="u", active_agent_id=text, expires_at=store.now() + LONG_LIFE)
    await adapter.create_session(original)
    message = store.message("same", text, id="m")
    await adapter.append_messages("same", [message], client_ids=["m"])


async def _shows(store: StoreFixture, adapter: StorageAdapter, text: str) -> None:
    page = await adapter.get_messages("same", MessageQuery())
    same("conversation in its namespace", [message.content for message in page], [text])
    found = present("session in its namespace", await adapter.get_session("same"))
    same("agent and count in its namespace", (found.active_agent_id, found.message_count), (text, 1))
    same("expiring sessions in its namespace", list(await adapter.get_expired_sessions(FAR, limit=9)), ["same"])
    await store.check_listing("the user's listing in its namespace", ["same"], adapter=adapter, user_id="u")


@clause("SC-ISO-005")
async def test_similar_ids_do_not_mix(store: StoreFixture) -> None:
    names = ("s", "s1", "s:", "s:messages", "s#META", "s/m", "s ", "S", "s%", "s*", "*", "{s}", "s|m")
    for name in names:
        await store.create_session(id=name, user_id=name, active_agent_id=name)
        await store.append_with_ids(store.message(name, f"in {name}", id="m"))
    for name in names:
        same("conversation", await store.texts(name), [f"in {name}"])
        await store.check_listing("the user's listing", [name], user_id=name)
        await store.check_listing("the agent's listing", [name], active_agent_id=name)
    await store.adapter.delete_session("s")
    for name in names[1:]:
        same("conversation after another's delete", await store.texts(name), [f"in {name}"])


@clause("SC-ISO-005")
async def test_similar_message_ids_do_not_mix(store: StoreFixture) -> None:
    session = await store.create_session()
    names = ("m", "m1", "m:", "m#", "M", "m ", "*", "m*")
    for name in names:
        await store.append_with_ids(store.message(session.id, name, id=name))
    await store.adapter.update_message(session.id, "m", Patch({"content": "edited"}))
    await store.adapter.delete_message(session.id, "*")
    same("conversation", await store.texts(session.id), ["edited", "m1", "m:", "m#", "M", "m ", "m*"])


@clause("SC-ISO-007")
async def test_view_of_an_owner_sees_no_other_user(store: StoreFixture) -> None:
    other = await store.create_session(user_id="other", expires_at=store.now() + timedelta(hours=1))
    unowned = await store.create_session()
    own = await store.create_session(user_id="owner")
    view = store.adapter.view(owner="owner")
    for session in (other, unowned):
        (message,) = await store.append(session.id, "secret")
        before = await store.current(session.id)
        await sees_nothing(store, view, session, message)
        same("the session afterwards", await store.current(session.id), before)
        same("its messages afterwards", await store.texts(session.id), ["secret"])
    await view.append_messages(own.id, [store.message(own.id, "mine")])
    same("the owner's messages", await store.texts(own.id), ["mine"])
    page = await view.list_sessions(SessionFilter(user_id="owner"), limit=9)
    same("the owner's sessions", [session.id for session in page], [own.id])
    same("expired sessions of others", list(await view.get_expired_sessions(FAR, limit=9)), [])


async def sees_nothing(store: StoreFixture, view: StorageAdapter, session: Session, message: Message) -> None:
    """Check what each method of a view says about a session of somebody else."""
    name, query, patch = session.id, MessageQuery(), Patch({"status": "paused"})
    same("get_session", await view.get_session(name), None)
    same("delete_session", await view.delete_session(name), False)
    listed = await view.list_sessions(SessionFilter(user_id=session.user_id or "owner"), limit=9)
    same("list_sessions", [each.id for each in listed if each.id == name], [])
    new = [store.message(name, "new")]
    calls: dict[str, Callable[[], Awaitable[object]]] = {
        "update_session": lambda: view.update_session(name, patch),
        "append_messages": lambda: view.append_messages(name, new),
        "get_message": lambda: view.get_message(name, message.id),
        "get_messages": lambda: view.get_messages(name, query),
        "get_conversation": lambda: view.get_conversation(name, query),
        "update_message": lambda: view.update_message(name, message.id, Patch({"content": "new"})),
        "delete_message": lambda: view.delete_message(name, message.id),
        "delete_all_messages": lambda: view.delete_all_messages(name),
    }
    if store.capabilities.tail_replacement:
        calls["replace_tail"] = lambda: view.replace_tail(name, None, new)
    if store.capabilities.forks:
        fork = store.new_session(user_id="owner", forked_from=ForkedFrom(session_id=name))
        calls["fork_session"] = lambda: view.fork_session(name, fork)
        calls["list_forks"] = lambda: view.list_forks(name, limit=9)
    if store.capabilities.text_search:
        calls["search_messages"] = lambda: view.search_messages("own", session_id=name, limit=9)
    for operation, call in calls.items():
        await refused(f"{operation} of somebody else's session", call(), SessionNotFoundError)
    taken = store.new_session(id=name, user_id="owner")
    await refused("create_session with its id", view.create_session(taken), SessionExistsError)
    if store.capabilities.overlapping_batches:
        creating = view.append_messages(name, new, create=taken)
        await refused("append_messages that would create it", creating, SessionExistsError)


@clause("SC-ISO-007")
async def test_view_of_an_owner_lists_no_fork_of_others(store: StoreFixture) -> None:
    if not store.capabilities.forks:
        raise NotApplicableError("the store does not declare forks")
    own = await store.create_session(user_id="owner")
    for user in ("other", "owner"):
        session = store.new_session(user_id=user, forked_from=ForkedFrom(session_id=own.id))
        await store.adapter.fork_session(own.id, session)
    found = await store.adapter.view(owner="owner").list_forks(own.id, limit=9)
    same("the forks listed", [fork.session_id for fork in found], [session.id])


@clause("SC-ISO-008")
async def test_view_of_a_namespace_is_that_namespace(store: StoreFixture) -> None:
    await store.open_second()  # only where a second adapter has the same sessions
    other = await store.open("-other")
    view = store.adapter.view(namespace=store.target.full_namespace(f"{store.namespace}-other"))
    same("the id in both", (await store.create_session(id="s", user_id="a")).user_id, "a")
    created = await view.create_session(store.new_session(id="s", user_id="b"))
    await view.append_messages("s", [store.message("s", "in the view")])
    same("the session of the namespace", present("get_session", await other.get_session("s")).user_id, created.user_id)
    same("messages in the first namespace", await store.texts("s"), [])
    page = await other.get_messages("s", MessageQuery())
    same("messages in the other namespace", [message.content for message in page], ["in the view"])
    await view.close()
    same("get_session after the view is closed", (await store.current("s")).user_id, "a")
    await other.delete_session("s")
