"""Writes of several items: the actions of a transaction, and how they are sent, at once or one by one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from session_continuity_dynamodb.items import names
from session_continuity_dynamodb.items.values import Item, key_of
from session_continuity_dynamodb.requests.batches import delete_items, get_item
from session_continuity_dynamodb.requests.errors import (
    CancelledTransactionError,
    ConditionFailedError,
    Reason,
    outcome_unknown,
)
from session_continuity_dynamodb.requests.expressions import Expression, Operand, Update
from session_continuity_dynamodb.requests.sender import Sender

Action = dict[str, dict[str, Any]]
"""One action of a transaction: its kind and its parameters, without the table."""

_SINGLE_WRITES = {"Put": "PutItem", "Update": "UpdateItem", "Delete": "DeleteItem"}
_IF_NEW: dict[str, Any] = {
    "ConditionExpression": "attribute_not_exists(#0)",
    "ExpressionAttributeNames": {"#0": names.PARTITION_KEY},
}


def put(item: Item) -> Action:
    """Write an item, in place of one with its key."""
    return {"Put": {"Item": item}}


def put_new(item: Item) -> Action:
    """Write an item if there is none with its key."""
    return {"Put": {"Item": item, **_IF_NEW}}


def put_if(item: Item, expression: Expression) -> Action:
    """Write an item in place of the one with its key, under the condition of the expression."""
    return {"Put": {"Item": item, **expression.params()}}


def update(key: Item, change: Update, values: Mapping[str, Operand] | None = None) -> Action:
    """Change an item. `values` are those of its parameters."""
    return {"Update": {"Key": key, **change.params(values)}}


def delete(key: Item, expression: Expression | None = None) -> Action:
    """Delete an item, under the condition of the expression if there is one."""
    return {"Delete": {"Key": key, **(expression.params() if expression else {})}}


def check(key: Item, expression: Expression) -> Action:
    """Let the transaction fail unless the item meets the condition of the expression."""
    return {"ConditionCheck": {"Key": key, **expression.params()}}


async def transact(sender: Sender, actions: Sequence[Action], write_id: str, *, parts: Sequence[Item] = ()) -> None:
    """Carry out all of these actions or none, once. `parts` are items to put before them.

    Raises CancelledTransactionError with one reason for each action. A reason holds the item that a failed condition
    met, unless the engine does not return it.

    A condition also fails where this same write went through before and its reply was lost. Then an item that met a
    condition has the `write_id`, and the call returns as after a success.
    """
    puts = [put(part) for part in parts]
    try:
        if sender.atomic:
            await _send_transaction(sender, [*puts, *actions], write_id)
        else:
            await _send_one_by_one(sender, [*puts, *actions], write_id)
    except CancelledTransactionError as cancelled:
        if not any(_was_written_by(write_id, reason.item) for reason in cancelled.reasons if reason.failed):
            del cancelled.reasons[: len(puts)]
            raise


async def _send_transaction(sender: Sender, actions: Sequence[Action], write_id: str) -> None:
    items = [
        {kind: {"TableName": sender.table, "ReturnValuesOnConditionCheckFailure": "ALL_OLD", **params}}
        for action in actions
        for kind, params in action.items()
    ]
    # The token makes DynamoDB itself recognise a request that the SDK sends again, for ten minutes.
    await sender.call("TransactWriteItems", {"TransactItems": items, "ClientRequestToken": write_id})


async def _send_one_by_one(sender: Sender, actions: Sequence[Action], write_id: str) -> None:
    """The actions in order. When a condition fails, the items that were put before are deleted again.

    They stay if a change went through after they were put, because it may refer to them. An item that exists already
    exactly as it should be stays too: it may be another writer's, or this write's whose reply was lost.

    Raises UnavailableError where a change may have been made before its reply was lost: others have written since.
    """
    created: list[Item] = []
    for index, action in enumerate(actions):
        [(kind, params)] = action.items()
        key: Item = params["Key"] if "Key" in params else key_of(params["Item"])
        try:
            await sender.request(_SINGLE_WRITES[kind], params)
            created = [*created, key] if kind == "Put" else []
        except ConditionFailedError as failed:
            found = failed.item or await get_item(sender, key, consistent=True)
            if kind == "Delete" and found is None and failed.repeated:
                continue  # the SDK had sent this delete before, and it went through
            if not _was_written_by(write_id, found) and (kind != "Put" or found != params["Item"]):
                await delete_items(sender, created)
                if failed.repeated and kind == "Update":
                    raise outcome_unknown() from failed
                before, after = [Reason()] * index, [Reason()] * (len(actions) - index - 1)
                raise CancelledTransactionError([*before, Reason(True, found), *after]) from failed


def _was_written_by(write_id: str, item: Item | None) -> bool:
    return item is not None and {"S": write_id} in (item.get(names.WRITE_ID), item.get(names.REVISION))
