"""Creating the table."""

from __future__ import annotations

import time
from typing import Any

from botocore.exceptions import ClientError

from session_continuity import StorageError, sleeper
from session_continuity_dynamodb.items import names
from session_continuity_dynamodb.requests.errors import code_of
from session_continuity_dynamodb.requests.sender import Sender
from session_continuity_dynamodb.table.check import key_findings
from session_continuity_dynamodb.table.definition import Projection, definition
from session_continuity_dynamodb.table.description import describe_table, is_active

_WAIT_SECONDS = 120.0
_POLL_SECONDS = 0.5


async def create_table(sender: Sender, *, projection: Projection = "ALL") -> bool:
    """Create the table if there is none, turn its expiry on, and wait until it is active. True if it was created here.

    A table that exists is not changed. Expiry on a table that others use would delete what they keep there. Raises
    StorageError if a table has this name and other keys or indexes, and if it is not active within two minutes.
    """
    found = await describe_table(sender)
    if found is not None:
        _check_shape(sender.table, found)
    created = found is None and await _create(sender, projection)
    _check_shape(sender.table, await _wait_until_active(sender))
    if created:
        await _enable_expiry(sender)
    return created


def _check_shape(table: str, description: dict[str, Any]) -> None:
    findings = key_findings(description)
    if findings:
        problems = "; ".join(finding.problem for finding in findings)
        raise StorageError(
            f"table {table!r} exists, has another form and was not changed: {problems}; use another table name"
        )


async def _create(sender: Sender, projection: Projection) -> bool:
    try:
        await sender.call("CreateTable", definition(sender.table, projection=projection))
    except ClientError as error:
        if code_of(error) != "ResourceInUseException":  # another process creates it
            raise
        return False
    return True


async def _wait_until_active(sender: Sender) -> dict[str, Any]:
    """The description of the table once it is active."""
    end = time.monotonic() + _WAIT_SECONDS
    while True:
        description = await describe_table(sender)
        if description is not None and is_active(description):
            return description
        if time.monotonic() > end:
            raise StorageError(f"table {sender.table!r} was not active after {_WAIT_SECONDS:.0f} s; try again later")
        await sleeper(sender.mode)(_POLL_SECONDS)


async def _enable_expiry(sender: Sender) -> None:
    try:
        specification = {"Enabled": True, "AttributeName": names.TTL}
        await sender.request("UpdateTimeToLive", {"TimeToLiveSpecification": specification})
    except ClientError as error:
        if code_of(error) != "UnknownOperationException":  # some emulators do not have expiry
            raise
