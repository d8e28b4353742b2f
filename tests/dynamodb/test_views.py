"""Views of other namespaces: they share the client, and ask nothing before their first call."""

from __future__ import annotations

import pytest

from session_continuity import (
    NotSupportedError,
    SessionManager,
    StorageAdapter,
    innermost,
    run_now,
)

from ..kit.conversations import stored_contents
from ..kit.dynamodb_engines import TRUSTED
from ..kit.dynamodb_meter import apis
from .bench import Bench, native_client

pytestmark = pytest.mark.on(engine=TRUSTED, mode=["blocking"])


def test_view_costs_nothing_and_shares_the_client(bench: Bench, store: StorageAdapter) -> None:
    session = bench.create(store)
    bench.append(store, session, 2)
    with bench.meter.counting() as made:
        view = store.view(namespace=f"{bench.namespace}-other")
    assert made == []
    assert native_client(view) is native_client(store)
    assert run_now(view.get_session(session.id)) is None
    run_now(view.create_session(session))
    with bench.meter.counting() as made:
        bench.append(view, session)
    assert apis(made) == ["TransactWriteItems"]  # what the other namespace knows of this id does not count here
    assert (len(stored_contents(view, session.id)), len(stored_contents(store, session.id))) == (1, 2)
    run_now(view.close())
    assert len(stored_contents(store, session.id)) == 2


def test_owner_costs_one_read_of_the_session_more(bench: Bench, store: StorageAdapter) -> None:
    session = bench.create(store, user_id="ada")
    manager = SessionManager(store)
    manager.get_session(session.id)  # the first call also looks at the table
    with bench.meter.counting() as made:
        manager.for_user("ada").add_message(session.id, role="user", content="hello")
    assert apis(made) == ["BatchGetItem", "TransactWriteItems"]
    with pytest.raises(NotSupportedError):
        innermost(store).view(owner="ada")


def test_store_beside_the_kit_has_one_namespace(bench: Bench) -> None:
    bench.namespace = ""
    assert not bench.open(beside_kit=True).capabilities.namespace_views
