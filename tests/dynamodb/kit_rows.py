"""Rows with the names and formats that the TypeScript kit was seen to write, and its requests."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from .bench import Bench

SESSION = "4f6d0f0e-9d6b-4a55-9a1e-5a3f2f1f0c11"
CREATED = "2036-03-01T11:00:00.000Z"
EXPIRES = datetime(2036, 3, 1, 18, 0, 0, tzinfo=UTC)

Row = dict[str, Any]


def meta(session: str = SESSION, **changes: Any) -> Row:
    row: Row = {
        "PK": {"S": f"SESSION#{session}"},
        "SK": {"S": "META"},
        "GSI1PK": {"S": "USER#u-ts"},
        "GSI1SK": {"S": f"CREATED_AT#{CREATED}"},
        "GSI2PK": {"S": "AGENT#a-ts"},
        "GSI2SK": {"S": "STATUS#active"},
        "id": {"S": session},
        "userId": {"S": "u-ts"},
        "activeAgentId": {"S": "a-ts"},
        "status": {"S": "active"},
        "metadata": {"S": json.dumps({"title": "From there", "tags": ["vip"], "custom": {"plan": "pro"}})},
        "participants": {"S": json.dumps([{"id": "p1", "role": "user", "joinedAt": CREATED, "unknown": 1}])},
        "tokenBudget": {
            "M": {
                "maxTokens": {"N": "100"},
                "reserveTokens": {"N": "0"},
                "overflowStrategy": {"S": "error"},
            }
        },
        "compression": {"M": {"strategy": {"S": "sliding_window"}, "targetTokens": {"N": "50"}}},
        "schemaVersion": {"N": "1"},
        "version": {"N": "3"},
        "tokenCount": {"N": "30"},
        "messageCount": {"N": "3"},
        "createdAt": {"S": CREATED},
        "lastActivityAt": {"S": "2036-03-01T11:00:03.000Z"},
        "expiresAt": {"N": str(int(EXPIRES.timestamp()))},
        "ttl": {"N": str(int(EXPIRES.timestamp()))},
    }
    return {name: value for name, value in {**row, **changes}.items() if value is not None}


def message_id(second: int) -> str:
    moment = datetime.fromisoformat(CREATED) + timedelta(seconds=second)
    return f"{int(moment.timestamp() * 1000):015d}-000000-0b0e7c2a-5d0f-4e53-8a5e-1f3c5a7b9d0{second}"


def message(second: int, session: str = SESSION, **changes: Any) -> Row:
    created = f"2036-03-01T11:00:0{second}.000Z"
    held = changes.pop("as_id", message_id(second))
    row: Row = {
        "PK": {"S": f"SESSION#{session}"},
        "SK": {"S": f"MSG#{created}#{held}"},
        "id": {"S": held},
        "sessionId": {"S": session},
        "role": {"S": "user"},
        "content": {"S": f"text {second}"},
        "tokenCount": {"N": "10"},
        "createdAt": {"S": created},
    }
    return {name: value for name, value in {**row, **changes}.items() if value is not None}


CALLS = {
    "toolCalls": [{"id": "c1", "name": "find", "arguments": '{"q":1}'}],
    "toolResults": [{"toolCallId": "c0", "result": "none", "isError": True}],
    "annotations": {"k": ["v", 1.5]},
}
PLAIN_ID = "2b1f6e4e-7c55-4f0d-9a69-5b8f7f1c2d3e"

ROWS = [
    meta(),
    message(1, role={"S": "system"}),
    message(2, content={"L": [{"M": {"type": {"S": "text"}, "text": {"S": "hi"}}}]}, metadata={"S": json.dumps(CALLS)}),
    message(3, as_id=PLAIN_ID, sequence={"N": "3"}, updatedAt={"S": CREATED}),
    {"PK": {"S": f"SESSION#{SESSION}"}, "SK": {"S": "MSG#2036-03-01T11:00:02.500Z#ghost"}, "content": {"S": "edit"}},
]


def kit_deletes(shared: Bench, session_id: str) -> None:
    """What the kit's delete does: it removes META and the messages, and leaves what it does not know."""
    for row in shared.rows(session_id):
        if row["SK"]["S"] == "META" or row["SK"]["S"].startswith("MSG#"):
            shared.raw("delete_item", Key={name: row[name] for name in ("PK", "SK")})


def kit_deletes_messages(shared: Bench, session_id: str) -> None:
    """What `deleteAllMessages` of the kit's adapter does: it counts nothing."""
    for row in shared.rows(session_id):
        if row["SK"]["S"].startswith("MSG#"):
            shared.raw("delete_item", Key={name: row[name] for name in ("PK", "SK")})


def kit_sets(shared: Bench, session_id: str, **attributes: Any) -> None:
    """What an update of the kit's adapter does: it changes META alone."""
    key = {"PK": {"S": f"SESSION#{session_id}"}, "SK": {"S": "META"}}
    names = {f"#{name}": name for name in attributes}
    values = {f":{name}": value for name, value in attributes.items()}
    change = "SET " + ", ".join(f"#{name} = :{name}" for name in attributes)
    shared.raw(
        "update_item",
        Key=key,
        UpdateExpression=change,
        ExpressionAttributeNames=names,
        ExpressionAttributeValues=values,
    )


def seconds(moment: datetime) -> Row:
    return {"N": str(moment.timestamp())}


def kit_counts(shared: Bench, session_id: str, messages: int, tokens: int) -> None:
    """What the kit's manager does after it has put or removed messages: it adds to META, from 0, and never below 0."""
    [held] = [row for row in shared.rows(session_id) if row["SK"]["S"] == "META"]
    for name, more in (("messageCount", messages), ("tokenCount", tokens)):
        before = int(held.get(name, {"N": "0"})["N"])
        kit_sets(shared, session_id, **{name: {"N": str(max(0, before + more))}})


def kit_appends(shared: Bench, session_id: str, second: int, **changes: Any) -> str:
    """What the kit's manager does to append a message of ten tokens, whose id is returned: a Put, then the counts."""
    shared.write_rows([message(second, session_id, **changes)])
    kit_counts(shared, session_id, 1, 10)
    return message_id(second)
