"""The table: its shape, making it, checking it. No other file asks about or changes the table itself."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, Literal

from botocore.exceptions import ClientError

from session_continuity import HealthStatus, StorageError, UnavailableError, sleeper
from session_continuity_dynamodb.codec import LOOKS_WHOLE
from session_continuity_dynamodb.errors import BACKEND, code_of, translate
from session_continuity_dynamodb.store import Store
from session_continuity_dynamodb.values import Item
from session_continuity_dynamodb.wire import Wire

Projection = Literal["ALL", "KEYS_ONLY"]

TTL_ATTRIBUTE = "ttl"
INDEXES = ("GSI1", "GSI2")
KEYS: dict[str | None, tuple[str, str]] = {
    None: ("PK", "SK"),
    "GSI1": ("GSI1PK", "GSI1SK"),
    "GSI2": ("GSI2PK", "GSI2SK"),
}

_WAIT_SECONDS = 120.0
_POLL_SECONDS = 0.5
_CREATE = "run `session-continuity dynamodb create-table`"


def key_schema(index: str | None) -> list[dict[str, str]]:
    hash_key, range_key = KEYS[index]
    return [
        {"AttributeName": hash_key, "KeyType": "HASH"},
        {"AttributeName": range_key, "KeyType": "RANGE"},
    ]


def definition(table: str, *, projection: Projection = "ALL") -> dict[str, Any]:
    """The table as CreateTable takes it: on-demand, with both indexes."""
    return {
        "TableName": table,
        "BillingMode": "PAY_PER_REQUEST",
        "AttributeDefinitions": [
            {"AttributeName": name, "AttributeType": "S"} for names in KEYS.values() for name in names
        ],
        "KeySchema": key_schema(None),
        "GlobalSecondaryIndexes": [
            {"IndexName": index, "KeySchema": key_schema(index), "Projection": {"ProjectionType": projection}}
            for index in INDEXES
        ],
    }


async def set_up(store: Store) -> None:
    await create_table(store.wire)


async def create_table(wire: Wire, *, projection: Projection = "ALL") -> bool:
    """Make the table where there is none, wait until it serves, switch its expiry on; True if it was made here.

    Raises StorageError when it does not serve within two minutes.
    """
    made = await describe_table(wire) is None and await _create(wire, projection)
    await _until_active(wire)
    await _enable_expiry(wire)
    return made


async def _create(wire: Wire, projection: Projection) -> bool:
    try:
        await wire.call("CreateTable", definition(wire.table, projection=projection))
    except ClientError as error:
        if code_of(error) != "ResourceInUseException":
            raise
        return False
    return True


async def _until_active(wire: Wire) -> None:
    end = time.monotonic() + _WAIT_SECONDS
    while True:
        description = await describe_table(wire)
        if description is not None and _serves(description):
            return
        if time.monotonic() > end:
            raise StorageError(
                f"table {wire.table!r} was not ready after {_WAIT_SECONDS:.0f} s; try again later",
                backend=BACKEND,
                operation="setup",
            )
        await sleeper(wire.mode)(_POLL_SECONDS)


async def describe_table(wire: Wire) -> dict[str, Any] | None:
    """The table as the service describes it, None where there is none."""
    try:
        answer = await wire.request("DescribeTable", {})
    except ClientError as error:
        if code_of(error) != "ResourceNotFoundException":
            raise
        return None
    table: dict[str, Any] = answer["Table"]
    return table


def _serves(description: dict[str, Any]) -> bool:
    indexes = description.get("GlobalSecondaryIndexes", [])
    return description.get("TableStatus") == "ACTIVE" and all(
        index.get("IndexStatus", "ACTIVE") == "ACTIVE" for index in indexes
    )


async def expiry_attribute(wire: Wire) -> str | None:
    """The attribute by which the service expires items; None while that is off."""
    answer = await wire.request("DescribeTimeToLive", {})
    found: dict[str, str] = answer.get("TimeToLiveDescription", {})
    on = found.get("TimeToLiveStatus") in ("ENABLED", "ENABLING")
    return found.get("AttributeName") if on else None


async def _enable_expiry(wire: Wire) -> None:
    try:
        if await expiry_attribute(wire) is None:
            await wire.request(
                "UpdateTimeToLive",
                {"TimeToLiveSpecification": {"Enabled": True, "AttributeName": TTL_ATTRIBUTE}},
            )
    except ClientError as error:
        # Emulators without expiry do not know the call; a table another process is setting up refuses the second one.
        if code_of(error) not in ("UnknownOperationException", "ValidationException"):
            raise


@dataclass(frozen=True, slots=True)
class Finding:
    """Something about the table that is not as this store needs it, and how to mend it."""

    problem: str
    remedy: str


async def examine(wire: Wire) -> tuple[dict[str, Any] | None, list[Finding]]:
    """The table as the service describes it, and what is wrong with it; nothing when it fits."""
    description = await describe_table(wire)
    if description is None:
        return None, [Finding(f"there is no table {wire.table!r}", _CREATE)]
    return description, shape_findings(description) + await _expiry_findings(wire)


def summary(description: dict[str, Any] | None) -> list[str]:
    """A description in lines for people."""
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
    """What keeps the table from serving whole: keys, indexes, or that it is not ready."""
    findings = _key_findings(description) + _projection_findings(description)
    if not _serves(description):
        findings.append(Finding("the table or one of its indexes is not active yet", "wait, and look again"))
    return findings


def _key_findings(description: dict[str, Any]) -> list[Finding]:
    findings: list[Finding] = []
    types = {entry["AttributeName"]: entry["AttributeType"] for entry in description.get("AttributeDefinitions", [])}
    indexes = {entry["IndexName"]: entry for entry in description.get("GlobalSecondaryIndexes", [])}
    for index, names in KEYS.items():
        what = "the table" if index is None else f"index {index}"
        held = description if index is None else indexes.get(index)
        if held is None:
            findings.append(
                Finding(f"{what} is missing", f"add it with the keys {names[0]} (hash) and {names[1]} (range), type S")
            )
        elif {(entry["AttributeName"], entry["KeyType"]) for entry in held["KeySchema"]} != set(
            zip(names, ("HASH", "RANGE"), strict=True)
        ) or any(types.get(name) != "S" for name in names):
            findings.append(
                Finding(
                    f"{what} has other keys than {names[0]} (hash) and {names[1]} (range), both of type S",
                    "keys cannot be changed: make it anew" if index else f"use another table name, and {_CREATE}",
                )
            )
    return findings


def _projection_findings(description: dict[str, Any]) -> list[Finding]:
    """An index that projects so much of a session that its rows look whole, and not all of it: they would be taken for
    sessions without the rest, an expiry for example."""
    return [
        Finding(f"index {index['IndexName']} projects most of a session", "make it anew with ALL or KEYS_ONLY")
        for index in description.get("GlobalSecondaryIndexes", [])
        if index["IndexName"] in INDEXES
        and LOOKS_WHOLE.issubset(index.get("Projection", {}).get("NonKeyAttributes", ()))
    ]


async def _expiry_findings(wire: Wire) -> list[Finding]:
    try:
        attribute = await expiry_attribute(wire)
    except ClientError as error:
        # Not every engine has expiry, and not every identity may ask; sessions expire without it, on every read.
        if code_of(error) not in ("UnknownOperationException", "AccessDeniedException"):
            raise
        return []
    if attribute == TTL_ATTRIBUTE:
        return []
    now = "off" if attribute is None else f"by {attribute!r}"
    return [Finding(f"its expiry (TTL) is {now}", f"switch it on for the attribute {TTL_ATTRIBUTE!r}: {_CREATE}")]


async def health(wire: Wire, absent: Item) -> HealthStatus:
    """Asks for an item that is not there; then about the table, as far as the identity may."""
    started = time.monotonic()
    refused: ClientError | None = None
    try:
        await wire.get(absent)
    except Exception as error:
        # A table with other keys takes no such request; what is said of it below tells more.
        if not isinstance(error, ClientError) or code_of(error) != "ValidationException":
            return _ill(wire, error)
        refused = error
    latency = (time.monotonic() - started) * 1000
    details: dict[str, Any] = {"table": wire.table, "append": "atomic" if wire.atomic else "serial"}
    try:
        description = await describe_table(wire)
    except Exception as error:
        details["inspected"] = code_of(error) or type(error).__name__
        description = None
    findings = [] if description is None else shape_findings(description)
    if findings:
        details["problems"] = [finding.problem for finding in findings]
        remedy = "; ".join(dict.fromkeys(finding.remedy for finding in findings))
        return HealthStatus(status="degraded", details=details, remedy=remedy, latency_ms=latency)
    if refused is not None:
        return _ill(wire, refused)
    return HealthStatus(status="healthy", details=details, latency_ms=latency)


def _ill(wire: Wire, error: Exception) -> HealthStatus:
    translated = translate(error, "health", wire.table)
    answers = isinstance(error, ClientError) and not isinstance(translated, UnavailableError)
    return HealthStatus(
        status="degraded" if answers else "unhealthy",
        details={"table": wire.table, "error": translated.code, "cause": code_of(error) or type(error).__name__},
        remedy=translated.message,
    )
