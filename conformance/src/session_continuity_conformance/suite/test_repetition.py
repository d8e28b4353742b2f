"""FLT: an application repeats calls whose responses were lost."""

from __future__ import annotations

from session_continuity import UnavailableError
from session_continuity_conformance.cases import clause
from session_continuity_conformance.checks import refused, same
from session_continuity_conformance.faults.injection import FAIL_AFTER, FAIL_BEFORE, FaultyStorage, Planned
from session_continuity_conformance.manager_in_mode import Application
from session_continuity_conformance.store_fixture import StoreFixture


@clause("SC-FLT-012")
async def test_message_whose_answer_was_lost_is_added_once(store: StoreFixture) -> None:
    plan = Planned()
    application = Application(FaultyStorage(store.adapter, plan))
    session = await store.create_session()
    for name, fault in (("made", FAIL_AFTER), ("not made", FAIL_BEFORE)):
        plan.add("append_messages", fault, fault)
        for _ in range(2):
            lost = application.add_message(session.id, name, id=name)
            await refused(f"add_message whose answer was lost, {name}", lost, UnavailableError)
            await store.append(session.id, "meanwhile")
        found = await application.add_message(session.id, name, id=name)
        same(f"what add_message repeated returns, when it was {name}", found.content, name)
        again = await application.add_message(session.id, name, id=name)
        same("what it returns when it is repeated once more", again, found)
    texts = ["made", *["meanwhile"] * 4, "not made"]
    same("the conversation", await store.texts(session.id), texts)
    same("message_count", (await store.current(session.id)).message_count, len(texts))
