"""ISO: sessions and namespaces see nothing of each other."""

from __future__ import annotations

from session_continuity import MessageNotFoundError, MessageQuery, Patch, StorageAdapter
from session_continuity_conformance.cases import clause
from session_continuity_conformance.checks import present, refused, same, same_models
from session_continuity_conformance.store import FAR, LONG_LIFE, Store


@clause("SC-ISO-001")
async def test_session_reads_its_own_messages_only(store: Store) -> None:
    mine, other = await store.session(), await store.session()
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
async def test_messages_cannot_be_changed_through_another_session(store: Store) -> None:
    mine, other = await store.session(), await store.session()
    for message in (*await store.append(mine.id, "mine"), store.message(mine.id, "chosen", id="chosen")):
        if message.id == "chosen":
            await store.append_chosen(message)
        before = [await store.current(mine.id), await store.current(other.id)]
        edit = store.adapter.update_message(other.id, message.id, Patch({"content": "changed", "token_count": 9}))
        await refused("update_message through another session", edit, MessageNotFoundError)
        same("delete_message through another", await store.adapter.delete_message(other.id, message.id), False)
        same_models("both sessions", [await store.current(mine.id), await store.current(other.id)], before)
    await store.adapter.delete_all_messages(other.id)
    same("conversation", await store.texts(mine.id), ["mine", "chosen"])


@clause("SC-ISO-003")
async def test_two_sessions_may_use_the_same_message_id(store: Store) -> None:
    sessions = [await store.session(), await store.session()]
    for session in sessions:
        await store.append_chosen(store.message(session.id, f"of {session.id}", id="1"))
    for session in sessions:
        same("its message", await store.texts(session.id), [f"of {session.id}"])
    await store.adapter.update_message(sessions[0].id, "1", Patch({"content": "edited"}))
    await store.adapter.delete_message(sessions[0].id, "1")
    found = present("the other's message", await store.adapter.get_message(sessions[1].id, "1"))
    same("the other's message", found.content, f"of {sessions[1].id}")


@clause("SC-ISO-004")
async def test_namespaces_do_not_see_each_other(store: Store) -> None:
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
async def test_similar_namespaces_do_not_mix(store: Store) -> None:
    parts = ("", ":", "a", ":a", ":same", "#", "/..", "*", "{x}", " é👍", "%3A", "A")
    adapters = {part: await store.open(part) for part in parts}
    for part, adapter in adapters.items():
        await _write(store, adapter, f"of {part!r}")
    for part, adapter in adapters.items():
        await _shows(store, adapter, f"of {part!r}")


async def _write(store: Store, adapter: StorageAdapter, text: str) -> None:
    given = store.new_session(id="same", user_id="u", active_agent_id=text, expires_at=store.now() + LONG_LIFE)
    await adapter.create_session(given)
    message = store.message("same", text, id="m")
    await adapter.append_messages("same", [message], chosen_ids=["m"])


async def _shows(store: Store, adapter: StorageAdapter, text: str) -> None:
    page = await adapter.get_messages("same", MessageQuery())
    same("conversation in its namespace", [message.content for message in page], [text])
    found = present("session in its namespace", await adapter.get_session("same"))
    same("agent and count in its namespace", (found.active_agent_id, found.message_count), (text, 1))
    same("expiring sessions in its namespace", list(await adapter.get_expired_sessions(FAR, limit=9)), ["same"])
    await store.lists("the user's listing in its namespace", ["same"], adapter=adapter, user_id="u")


@clause("SC-ISO-005")
async def test_similar_ids_do_not_mix(store: Store) -> None:
    names = ("s", "s1", "s:", "s:messages", "s#META", "s/m", "s ", "S", "s%", "s*", "*", "{s}", "s|m")
    for name in names:
        await store.session(id=name, user_id=name, active_agent_id=name)
        await store.append_chosen(store.message(name, f"in {name}", id="m"))
    for name in names:
        same("conversation", await store.texts(name), [f"in {name}"])
        await store.lists("the user's listing", [name], user_id=name)
        await store.lists("the agent's listing", [name], active_agent_id=name)
    await store.adapter.delete_session("s")
    for name in names[1:]:
        same("conversation after another's delete", await store.texts(name), [f"in {name}"])


@clause("SC-ISO-005")
async def test_similar_message_ids_do_not_mix(store: Store) -> None:
    session = await store.session()
    names = ("m", "m1", "m:", "m#", "M", "m ", "*", "m*")
    for name in names:
        await store.append_chosen(store.message(session.id, name, id=name))
    await store.adapter.update_message(session.id, "m", Patch({"content": "edited"}))
    await store.adapter.delete_message(session.id, "*")
    same("conversation", await store.texts(session.id), ["edited", "m1", "m:", "m#", "M", "m ", "m*"])
