"""Checking the table: what is wrong with it, how to fix that, and the store's health."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from session_continuity import HealthStatus, SessionContinuityError, UnavailableError
from session_continuity_dynamodb.items import names
from session_continuity_dynamodb.items.session_codec import IS_WHOLE
from session_continuity_dynamodb.items.values import Item
from session_continuity_dynamodb.requests.batches import get_item
from session_continuity_dynamodb.requests.errors import code_of, translate
from session_continuity_dynamodb.requests.sender import Sender
from session_continuity_dynamodb.table.definition import INDEXES, KEYS
from session_continuity_dynamodb.table.description import describe_expiry, describe_table, is_active

_CREATE = "run `session-continuity dynamodb create-table`"


@dataclass(frozen=True, slots=True)
class Finding:
    """Something about the table that this store needs to be different, and how to fix it."""

    problem: str
    remedy: str


async def examine_table(sender: Sender) -> tuple[dict[str, Any] | None, list[Finding]]:
    """The table's description, and all that is wrong with it."""
    description = await describe_table(sender)
    if description is None:
        return None, [Finding(f"there is no table {sender.table!r}", _CREATE)]
    return description, shape_findings(description) + await _expiry_findings(sender)


def summary(description: dict[str, Any] | None) -> list[str]:
    """A description as lines of text."""
    if description is None:
        return []
    billing = description.get("BillingModeSummary", {}).get("BillingMode", "PROVISIONED")
    lines = [
        f"table {description['TableName']}: {description['TableStatus']}, {billing}, "
        f"about {description.get('ItemCount', 0)} items, {description.get('TableSizeBytes', 0)} bytes"
    ]
    for index in description.get("GlobalSecondaryIndexes", []):
        projection = index.get("Projection", {}).get("ProjectionType", "unknown")
        lines.append(f"index {index['IndexName']}: {index.get('IndexStatus', 'ACTIVE')}, projection {projection}")
    return lines


def shape_findings(description: dict[str, Any]) -> list[Finding]:
    """What is wrong with the table's keys, its indexes and its state."""
    findings = key_findings(description) + _projection_findings(description)
    if not is_active(description):
        findings.append(Finding("the table or one of its indexes is not active yet", "wait for it, and check again"))
    return findings


def key_findings(description: dict[str, Any]) -> list[Finding]:
    """What is wrong with the keys of the table, and with its indexes and their keys."""
    indexes = {entry["IndexName"]: entry for entry in description.get("GlobalSecondaryIndexes", [])}
    types = {entry["AttributeName"]: entry["AttributeType"] for entry in description.get("AttributeDefinitions", [])}
    findings: list[Finding] = []
    for index, (hash_key, range_key) in KEYS.items():
        what = "the table" if index is None else f"index {index}"
        wanted = f"{hash_key} (hash) and {range_key} (range)"
        held = description if index is None else indexes.get(index)
        if held is None:
            remedy = f"add {what} to table {description['TableName']} with the keys {wanted}, both of type S"
            findings.append(Finding(f"{what} is missing", remedy))
        elif not _has_keys(held, types, hash_key, range_key):
            again = f"keys cannot be changed: create {what} again"
            remedy = again if index else f"use another table name, and {_CREATE}"
            findings.append(Finding(f"{what} has other keys than {wanted}, both of type S", remedy))
    return findings


def _has_keys(described: dict[str, Any], types: dict[str, str], hash_key: str, range_key: str) -> bool:
    found = {(entry["AttributeName"], entry["KeyType"]) for entry in described["KeySchema"]}
    is_text = types.get(hash_key) == types.get(range_key) == "S"
    return is_text and found == {(hash_key, "HASH"), (range_key, "RANGE")}


def _projection_findings(description: dict[str, Any]) -> list[Finding]:
    """Indexes that project enough of a session for their rows to be used as all of it, and not all of it. Sessions
    from them would lack the rest, for example an expiry."""
    return [
        Finding(
            f"index {index['IndexName']} projects most of a session",
            f"create index {index['IndexName']} again with ALL or KEYS_ONLY",
        )
        for index in description.get("GlobalSecondaryIndexes", [])
        if index["IndexName"] in INDEXES and IS_WHOLE.issubset(index.get("Projection", {}).get("NonKeyAttributes", ()))
    ]


async def _expiry_findings(sender: Sender) -> list[Finding]:
    try:
        attribute = await describe_expiry(sender)
    except ClientError as error:
        # Some emulators do not have expiry, and an identity may lack the permission. Neither is a finding: reads hide
        # expired sessions without it.
        if code_of(error) not in ("UnknownOperationException", "AccessDeniedException"):
            raise
        return []
    if attribute == names.TTL:
        return []
    now = "off" if attribute is None else f"by {attribute!r}"
    command = (
        f"aws dynamodb update-time-to-live --table-name {sender.table} "
        f"--time-to-live-specification Enabled=true,AttributeName={names.TTL}"
    )
    remedy = f"if no other program keeps items in the table, turn it on for the attribute {names.TTL!r}: {command}"
    return [Finding(f"the expiry (TTL) of table {sender.table} is {now}", remedy)]


async def check_health(sender: Sender, absent: Item) -> HealthStatus:
    """Whether the store serves. `absent` is the key of an item that does not exist, which is asked for first.

    The table is described too, if the identity may do that.
    """
    started = time.monotonic()
    refused: ClientError | None = None
    try:
        await get_item(sender, absent)
    except Exception as error:
        # A table with other keys refuses this request. Its description below says what is wrong.
        if not isinstance(error, ClientError) or code_of(error) != "ValidationException":
            return _ill(sender, error)
        refused = error
    latency = (time.monotonic() - started) * 1000
    details, findings = await _inspect(sender)
    if findings:
        details["problems"] = [finding.problem for finding in findings]
        remedy = "; ".join(dict.fromkeys(finding.remedy for finding in findings))
        return HealthStatus(status="degraded", details=details, remedy=remedy, latency_ms=latency)
    if refused is not None:
        return _ill(sender, refused)
    return HealthStatus(status="healthy", details=details, latency_ms=latency)


async def _inspect(sender: Sender) -> tuple[dict[str, Any], list[Finding]]:
    """Details for a health status, and what is wrong with the table as far as its description can be read."""
    details: dict[str, Any] = {"table": sender.table, "append": "atomic" if sender.atomic else "serial"}
    try:
        description = await describe_table(sender)
    except Exception as error:
        details["inspected"] = code_of(error) or type(error).__name__
        description = None  # the identity may lack the permission, which the store does not need
    return details, [] if description is None else shape_findings(description)


def _ill(sender: Sender, error: Exception) -> HealthStatus:
    translated = error if isinstance(error, SessionContinuityError) else translate(error, sender.table)
    if translated is None:
        raise error
    answers = isinstance(error, ClientError) and not isinstance(translated, UnavailableError)
    return HealthStatus(
        status="degraded" if answers else "unhealthy",
        details={"table": sender.table, "error": translated.code, "cause": code_of(error) or type(error).__name__},
        remedy=translated.message,
    )
