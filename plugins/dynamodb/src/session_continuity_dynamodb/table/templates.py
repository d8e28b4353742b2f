"""The table and the permissions as text: CloudFormation, Terraform, and an IAM policy.

They are made from the definition by which this store creates and checks the table, so they cannot differ from it.
"""

from __future__ import annotations

import json
from typing import Any, Literal

from session_continuity_dynamodb.items import names
from session_continuity_dynamodb.table.definition import KEYS, Projection, definition

Format = Literal["cloudformation", "terraform", "iam"]

_READ_AND_WRITE = (
    "dynamodb:BatchGetItem",
    "dynamodb:BatchWriteItem",
    "dynamodb:ConditionCheckItem",
    "dynamodb:DeleteItem",
    "dynamodb:GetItem",
    "dynamodb:PutItem",
    "dynamodb:Query",
    "dynamodb:Scan",
    "dynamodb:UpdateItem",
)
_DESCRIBE = ("dynamodb:DescribeTable", "dynamodb:DescribeTimeToLive")


def template(kind: Format, name: str, *, projection: Projection = "ALL") -> str:
    """The text of a template for a table with this name."""
    if kind == "cloudformation":
        return _json(cloudformation(name, projection))
    return _json(iam(name)) if kind == "iam" else terraform(name, projection)


def _json(document: dict[str, Any]) -> str:
    return json.dumps(document, indent=2) + "\n"


def cloudformation(name: str, projection: Projection) -> dict[str, Any]:
    """A CloudFormation template."""
    return {
        "AWSTemplateFormatVersion": "2010-09-09",
        "Description": "The table of session-continuity",
        "Resources": {
            "Sessions": {
                "Type": "AWS::DynamoDB::Table",
                "DeletionPolicy": "Retain",
                "UpdateReplacePolicy": "Retain",
                "Properties": {
                    **definition(name, projection=projection),
                    "TimeToLiveSpecification": {"AttributeName": names.TTL, "Enabled": True},
                    "PointInTimeRecoverySpecification": {"PointInTimeRecoveryEnabled": True},
                },
            }
        },
        "Outputs": {"TableName": {"Value": {"Ref": "Sessions"}}},
    }


def iam(name: str) -> dict[str, Any]:
    """An IAM policy with the least permissions. Only listings without a user or an agent need `Scan`."""
    arn = f"arn:aws:dynamodb:*:*:table/{name}"
    tables = [arn, f"{arn}/index/*"]
    return {
        "Version": "2012-10-17",
        "Statement": [
            {"Sid": "Sessions", "Effect": "Allow", "Action": list(_READ_AND_WRITE), "Resource": tables},
            {"Sid": "Health", "Effect": "Allow", "Action": list(_DESCRIBE), "Resource": [arn]},
        ],
    }


def terraform(name: str, projection: Projection) -> str:
    """A Terraform resource."""
    defined = definition(name, projection=projection)
    blocks = [
        _block("attribute", {"name": each["AttributeName"], "type": "S"}) for each in defined["AttributeDefinitions"]
    ]
    for index in defined["GlobalSecondaryIndexes"]:
        hash_key, range_key = KEYS[index["IndexName"]]
        keys = {"hash_key": hash_key, "range_key": range_key, "projection_type": projection}
        blocks.append(_block("global_secondary_index", {"name": index["IndexName"], **keys}))
    blocks.append(_block("ttl", {"attribute_name": names.TTL, "enabled": True}))
    blocks.append(_block("point_in_time_recovery", {"enabled": True}))
    hash_key, range_key = KEYS[None]
    own = {"name": name, "billing_mode": defined["BillingMode"], "hash_key": hash_key, "range_key": range_key}
    body = "\n".join([*_settings(own), "", *("\n".join(f"  {line}" for line in block) for block in blocks)])
    return f'resource "aws_dynamodb_table" "sessions" {{\n{body}\n}}\n'


def _block(name: str, settings: dict[str, str | bool]) -> list[str]:
    return [f"{name} {{", *_settings(settings), "}"]


def _settings(settings: dict[str, str | bool]) -> list[str]:
    return [f"  {name} = {json.dumps(value)}" for name, value in settings.items()]
