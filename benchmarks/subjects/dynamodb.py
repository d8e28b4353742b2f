"""boto3 by hand, with its defaults, in two ways: each message as one JSON text, or as an item of typed fields.

Neither has order across writers, idempotence, a limit, expiry or retries of conflicts.
"""

from __future__ import annotations

import itertools
from abc import abstractmethod
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from benchmarks.conversation import Item, messages
from benchmarks.subjects.by_hand import FASTEST, new_message, new_session
from benchmarks.subjects.subject import USER, Subject

BATCH = 25

Row = dict[str, Any]


class DynamoDBLine(Subject):
    """The messages of a session under one partition key, in the order of their times; its sessions in an index."""

    def __init__(self, client: Any, table: str) -> None:
        self.native = client
        self._table = table
        self._numbers = itertools.count()
        self._middle: dict[str, Row] = {}

    @abstractmethod
    def _body(self, values: dict[str, Any]) -> Row:
        """The attributes for a session or a message."""

    @abstractmethod
    def _values(self, row: Row) -> Any:
        """What the line returns for a row."""

    def fill(self, session: str, count: int) -> None:
        created = new_session(session)
        listed = {
            **self._key(session, "META"),
            "GSI1PK": {"S": f"{self.name}-USER#{USER}"},
            "GSI1SK": {"S": f"CREATED_AT#{created['created_at']}#{session}"},
        }
        self.native.put_item(TableName=self._table, Item={**listed, **self._body(created)})
        rows = [self._row(session, item) for item in islice(messages(), count)]
        if rows:
            self._middle[session] = rows[count // 2]
        for start in range(0, count, BATCH):
            puts = [{"PutRequest": {"Item": row}} for row in rows[start : start + BATCH]]
            self.native.batch_write_item(RequestItems={self._table: puts})

    def last_20(self, session: str) -> object:
        return self._read(self.native.query(**self._messages(session), ScanIndexForward=False, Limit=20))

    def context(self, session: str) -> object:
        found = self.native.get_item(TableName=self._table, Key=self._key(session, "META"))["Item"]
        return self._values(found), self.last_20(session)

    def all(self, session: str) -> object:
        return [self._values(row) for page in self._pages(session) for row in page]

    def delete(self, session: str) -> object:
        for page in self._pages(session, ProjectionExpression="PK, SK"):
            for start in range(0, len(page), BATCH):
                deletes = [{"DeleteRequest": {"Key": key}} for key in page[start : start + BATCH]]
                self.native.batch_write_item(RequestItems={self._table: deletes})
        return self.native.delete_item(TableName=self._table, Key=self._key(session, "META"))

    def list_100(self) -> object:
        reply = self.native.query(
            TableName=self._table,
            IndexName="GSI1",
            KeyConditionExpression="GSI1PK = :user",
            ExpressionAttributeValues={":user": {"S": f"{self.name}-USER#{USER}"}},
            ScanIndexForward=False,
            Limit=100,
        )
        return self._read(reply)

    def _read(self, reply: dict[str, Any]) -> list[Any]:
        return [self._values(row) for row in reply["Items"]]

    def _pages(self, session: str, **more: Any) -> Iterator[list[Row]]:
        request = {**self._messages(session), **more}
        while True:
            reply = self.native.query(**request)
            yield reply["Items"]
            if "LastEvaluatedKey" not in reply:
                return
            request["ExclusiveStartKey"] = reply["LastEvaluatedKey"]

    def _messages(self, session: str) -> dict[str, Any]:
        return {
            "TableName": self._table,
            "KeyConditionExpression": "PK = :session AND begins_with(SK, :message)",
            "ExpressionAttributeValues": {":session": {"S": f"{self.name}#{session}"}, ":message": {"S": "MSG#"}},
        }

    def _key(self, session: str, sort: str) -> Row:
        return {"PK": {"S": f"{self.name}#{session}"}, "SK": {"S": sort}}

    def _row(self, session: str, item: Item) -> Row:
        message = new_message(session, item)
        sort = f"MSG#{message['created_at']}#{next(self._numbers):09}#{message['id']}"
        return {**self._key(session, sort), **self._body(message)}


class JsonLine(DynamoDBLine):
    """One JSON text for each message. Returns dictionaries."""

    name = "boto3-json"

    def append(self, session: str, item: Item) -> object:
        return self.native.put_item(TableName=self._table, Item=self._row(session, item))

    def update(self, session: str, text: str) -> object:
        row = self._middle[session]
        body = self._body({**self._values(row), "content": text})
        return self.native.put_item(TableName=self._table, Item={**row, **body})

    def _body(self, values: dict[str, Any]) -> Row:
        return {"body": {"S": FASTEST.dumps(values).decode()}}  # type: ignore[union-attr]  # orjson writes bytes

    def _values(self, row: Row) -> Any:
        return FASTEST.loads(row["body"]["S"])


class FieldsLine(DynamoDBLine):
    """One attribute for each field. An append is a transaction that changes totals too, and what is returned stays the
    service's typed JSON."""

    name = "boto3-fields"

    def append(self, session: str, item: Item) -> object:
        row = self._row(session, item)
        totals = {
            "TableName": self._table,
            "Key": self._key(session, "META"),
            "UpdateExpression": "SET lastKey = :key ADD messageCount :one, tokenCount :tokens",
            "ConditionExpression": "attribute_exists(PK)",
            "ExpressionAttributeValues": {":key": row["SK"], ":one": {"N": "1"}, ":tokens": row["token_count"]},
        }
        put = {"TableName": self._table, "Item": row, "ConditionExpression": "attribute_not_exists(PK)"}
        return self.native.transact_write_items(TransactItems=[{"Update": totals}, {"Put": put}])

    def update(self, session: str, text: str) -> object:
        row = self._middle[session]
        return self.native.update_item(
            TableName=self._table,
            Key={"PK": row["PK"], "SK": row["SK"]},
            UpdateExpression="SET content = :content, updatedAt = :now",
            ConditionExpression="attribute_exists(PK)",
            ExpressionAttributeValues={":content": {"S": text}, ":now": {"S": datetime.now(UTC).isoformat()}},
            ReturnValues="ALL_NEW",
        )

    def _body(self, values: dict[str, Any]) -> Row:
        return {name: _typed(value) for name, value in values.items()}

    def _values(self, row: Row) -> Any:
        return row


def _typed(value: Any) -> dict[str, Any]:
    if isinstance(value, str):
        return {"S": value}
    if isinstance(value, int):
        return {"N": str(value)}
    if isinstance(value, dict):
        return {"M": {key: _typed(inner) for key, inner in value.items()}}
    return {"L": [_typed(inner) for inner in value]}
