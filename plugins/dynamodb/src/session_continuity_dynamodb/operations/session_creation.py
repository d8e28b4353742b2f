"""The items of a new session."""

from __future__ import annotations

from session_continuity import Session
from session_continuity_dynamodb.items import names
from session_continuity_dynamodb.items.counters import Counters
from session_continuity_dynamodb.items.keys import short_revision
from session_continuity_dynamodb.items.session_codec import marker_item, meta_item
from session_continuity_dynamodb.items.values import Item
from session_continuity_dynamodb.operations.context import TableContext
from session_continuity_dynamodb.requests.transactions import Action, put, put_new


def creation_actions(
    context: TableContext, session: Session, counters: Counters, write_id: str, *, first_system_row: bool = False
) -> list[Action]:
    """The actions that create a session: its counters, META, and a marker if it expires. `first_system_row` says that
    the same write lists system messages in rows."""
    # The revision tells the heads of this session from those of one that had the id before.
    written: Item = {names.WRITE_ID: {"S": write_id}, names.HEADS_REVISION: short_revision(write_id)}
    listed: Item = {names.SYSTEM_ROWS: {"S": write_id}} if first_system_row else {}
    actions = [
        # Both must be new: sessions of the TypeScript kit have no counters, and its deletes leave the counters behind.
        put_new({**counters.item(context.keys, session.id), **written, **listed}),
        put_new({**meta_item(context.keys, session), **written}),
    ]
    if session.expires_at is not None:
        actions.append(put(marker_item(context.keys, session.id, session.expires_at)))
    return actions
