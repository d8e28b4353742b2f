"""boto3 by hand, with its defaults: each message an item under a text of its time, totals in the session's item, an
append as one transaction of the two. No order across writers, no idempotence, no limit, no expiry, no retry of
conflicts; answers stay the service's typed JSON."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from benchmarks.conversation import texts
from benchmarks.subject import USER, Subject

BATCH = 25


class DynamoDBLine(Subject):
    name = "boto3"

    def __init__(self, client: Any, table: str) -> None:
        self.native = client
        self._table = table
        self._numbers = itertools.count()
        self._middle: dict[str, dict[str, Any]] = {}

    def fill(self, session: str, messages: int) -> None:
        now = datetime.now(UTC).isoformat()
        described = {
            **self._key(session, "META"),
            "GSI1PK": {"S": f"LINE-USER#{USER}"},
            "GSI1SK": {"S": f"CREATED_AT#{now}#{session}"},
            "id": {"S": session},
            "title": {"S": "Benchmark"},
            "createdAt": {"S": now},
        }
        self.native.put_item(TableName=self._table, Item=described)
        rows = [self._item(session, role, text) for role, text in islice(texts(), messages)]
        if rows:
            self._middle[session] = {name: rows[messages // 2][name] for name in ("PK", "SK")}
        for start in range(0, messages, BATCH):
            puts = [{"PutRequest": {"Item": row}} for row in rows[start : start + BATCH]]
            self.native.batch_write_item(RequestItems={self._table: puts})

    def append(self, session: str, role: str, text: str) -> object:
        item = self._item(session, role, text)
        totals = {
            "TableName": self._table,
            "Key": self._key(session, "META"),
            "UpdateExpression": "SET lastKey = :key ADD messageCount :one, tokenCount :tokens",
            "ConditionExpression": "attribute_exists(PK)",
            "ExpressionAttributeValues": {":key": item["SK"], ":one": {"N": "1"}, ":tokens": item["tokenCount"]},
        }
        put = {"TableName": self._table, "Item": item, "ConditionExpression": "attribute_not_exists(PK)"}
        return self.native.transact_write_items(TransactItems=[{"Update": totals}, {"Put": put}])

    def last_20(self, session: str) -> object:
        return self.native.query(**self._messages(session), ScanIndexForward=False, Limit=20)["Items"]

    def context(self, session: str) -> object:
        described = self.native.get_item(TableName=self._table, Key=self._key(session, "META"))["Item"]
        return described, self.last_20(session)

    def all(self, session: str) -> object:
        return [item for page in self._pages(session) for item in page]

    def update(self, session: str, text: str) -> object:
        return self.native.update_item(
            TableName=self._table,
            Key=self._middle[session],
            UpdateExpression="SET content = :content, updatedAt = :now",
            ConditionExpression="attribute_exists(PK)",
            ExpressionAttributeValues={":content": {"S": text}, ":now": {"S": datetime.now(UTC).isoformat()}},
            ReturnValues="ALL_NEW",
        )

    def delete(self, session: str) -> object:
        for page in self._pages(session, ProjectionExpression="PK, SK"):
            for start in range(0, len(page), BATCH):
                deletes = [{"DeleteRequest": {"Key": key}} for key in page[start : start + BATCH]]
                self.native.batch_write_item(RequestItems={self._table: deletes})
        return self.native.delete_item(TableName=self._table, Key=self._key(session, "META"))

    def list_100(self) -> object:
        return self.native.query(
            TableName=self._table,
            IndexName="GSI1",
            KeyConditionExpression="GSI1PK = :user",
            ExpressionAttributeValues={":user": {"S": f"LINE-USER#{USER}"}},
            ScanIndexForward=False,
            Limit=100,
        )["Items"]

    def _pages(self, session: str, **more: Any) -> Iterator[list[dict[str, Any]]]:
        asked = {**self._messages(session), **more}
        while True:
            answer = self.native.query(**asked)
            yield answer["Items"]
            if "LastEvaluatedKey" not in answer:
                return
            asked["ExclusiveStartKey"] = answer["LastEvaluatedKey"]

    def _messages(self, session: str) -> dict[str, Any]:
        return {
            "TableName": self._table,
            "KeyConditionExpression": "PK = :session AND begins_with(SK, :message)",
            "ExpressionAttributeValues": {":session": {"S": f"LINE#{session}"}, ":message": {"S": "MSG#"}},
        }

    def _key(self, session: str, sort: str) -> dict[str, Any]:
        return {"PK": {"S": f"LINE#{session}"}, "SK": {"S": sort}}

    def _item(self, session: str, role: str, text: str) -> dict[str, Any]:
        now, message_id = datetime.now(UTC).isoformat(timespec="milliseconds"), str(uuid.uuid4())
        return {
            **self._key(session, f"MSG#{now}#{next(self._numbers):09}#{message_id}"),
            "id": {"S": message_id},
            "sessionId": {"S": session},
            "role": {"S": role},
            "content": {"S": text},
            "tokenCount": {"N": str(len(text) // 4)},
            "createdAt": {"S": now},
        }
