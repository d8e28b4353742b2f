"""The table: making it, checking it, its health, its templates, and the commands about it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import cfnlint
import hcl2
import pytest
import typer
from typer.testing import CliRunner

from session_continuity import (
    ConfigError,
    MessageQuery,
    Patch,
    SessionFilter,
    SessionMetadata,
    StorageAdapter,
    StorageError,
    portable,
)
from session_continuity_dynamodb import DynamoDBStorage
from session_continuity_dynamodb.items.session_codec import IS_WHOLE
from session_continuity_dynamodb.table import definition as table, templates
from session_continuity_dynamodb.table.cli import add_commands

from ..kit.dynamodb_engines import EVERY_ENGINE, TRUSTED
from ..kit.dynamodb_meter import Request
from ..kit.modes import MODES
from .bench import Bench

pytestmark = pytest.mark.on(engine=TRUSTED, mode=["blocking"])


@pytest.fixture
def empty(bench: Bench) -> Iterator[Bench]:
    """A bench whose table does not exist yet."""
    bench.table = f"table-{bench.mode}"
    yield bench
    bench.raw("delete_table")


def url(bench: Bench) -> str:
    return f"dynamodb://{bench.table}?region=us-east-1&endpoint_url={bench.engine.url.replace('/', '%2F')}"


def command(*arguments: str) -> Any:
    app = typer.Typer()
    app.callback()(lambda: None)
    add_commands(app)
    return CliRunner().invoke(app, ["dynamodb", *arguments], catch_exceptions=False)


@pytest.mark.on(engine=EVERY_ENGINE, mode=MODES)
def test_setup_makes_a_table_that_is_healthy_and_repeats(empty: Bench) -> None:
    store = empty.open()
    empty.run(store.setup())
    health = empty.run(store.health())
    assert (health.status, health.remedy) == ("healthy", None)
    assert health.latency_ms is not None
    assert all(isinstance(outcome, type(None)) for outcome in empty.run_together(*[store.setup] * 4))


def test_setup_leaves_a_missing_table_to_its_owner(bench: Bench) -> None:
    store = portable(DynamoDBStorage(table="missing", endpoint_url=bench.engine.url, region="us-east-1"))
    bench.run(store.setup())
    health = bench.run(store.health())
    assert health.status == "degraded"
    assert health.remedy is not None
    assert "create-table" in health.remedy
    bench.run(store.close())


def test_health_names_what_a_table_lacks(bench: Bench) -> None:
    bare = {
        **table.definition("bare"),
        "GlobalSecondaryIndexes": table.definition("bare")["GlobalSecondaryIndexes"][:1],
    }
    bare["AttributeDefinitions"] = bare["AttributeDefinitions"][:4]
    bare.pop("TableName")
    bench.table = "bare"
    bench.raw("create_table", **bare)
    store = portable(DynamoDBStorage(table="bare", endpoint_url=bench.engine.url, region="us-east-1"))
    health = bench.run(store.health())
    assert health.status == "degraded"
    assert health.details["problems"] == ["index GSI2 is missing"]
    assert str(health.remedy).startswith("add index GSI2 to table bare with the keys GSI2PK (hash)")
    described = command("describe", url(bench))
    assert described.exit_code == 1
    assert "GSI2PK (hash)" in described.output
    assert "the expiry (TTL) of table bare is off" in described.output
    bench.run(store.close())
    bench.raw("delete_table")


def test_health_of_a_table_with_other_keys_says_so(bench: Bench) -> None:
    bench.table = "foreign"
    bench.raw(
        "create_table",
        BillingMode="PAY_PER_REQUEST",
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
    )
    store = portable(DynamoDBStorage(table="foreign", endpoint_url=bench.engine.url, region="us-east-1"))
    health = bench.run(store.health())
    assert health.status == "degraded"
    assert "the table has other keys than PK (hash) and SK (range), both of type S" in health.details["problems"]
    assert "use another table name" in str(health.remedy)
    with pytest.raises(StorageError, match="dynamodb describe"):
        bench.run(store.get_session("any"))
    bench.run(store.close())
    bench.raw("delete_table")


@pytest.mark.parametrize("form", ["other keys", "no indexes"])
def test_table_of_somebody_else_is_refused_and_not_touched(bench: Bench, form: str) -> None:
    bench.table = "foreign"
    keys = [("id", "HASH")] if form == "other keys" else [("PK", "HASH"), ("SK", "RANGE")]
    bench.raw(
        "create_table",
        BillingMode="PAY_PER_REQUEST",
        KeySchema=[{"AttributeName": name, "KeyType": kind} for name, kind in keys],
        AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name, _ in keys],
    )
    options = {"table": "foreign", "endpoint_url": bench.engine.url, "region": "us-east-1", "create_table": True}
    store = portable(DynamoDBStorage(**options))
    with pytest.raises(StorageError, match="'foreign' exists, has another form and was not changed") as raised:
        bench.run(store.setup())
    assert not raised.value.retryable
    with pytest.raises(StorageError, match="use another table name"):
        command("create-table", url(bench))
    assert expiry(bench) == "DISABLED"
    bench.run(store.close())
    bench.raw("delete_table")


def test_expiry_is_turned_on_only_for_a_table_that_was_created_here(bench: Bench) -> None:
    bench.table = "shared"
    definition = table.definition("shared")
    definition.pop("TableName")
    bench.raw("create_table", **definition)
    assert "it was not changed" in command("create-table", url(bench)).output
    assert expiry(bench) == "DISABLED"
    described = command("describe", url(bench))
    assert "aws dynamodb update-time-to-live --table-name shared" in described.output
    bench.raw("delete_table")
    command("create-table", url(bench))
    assert expiry(bench) == "ENABLED"
    bench.raw("delete_table")


def expiry(bench: Bench) -> str:
    """Whether DynamoDB expires items of the table."""
    status: str = bench.raw("describe_time_to_live")["TimeToLiveDescription"]["TimeToLiveStatus"]
    return status


@contextmanager
def projecting(bench: Bench, *attributes: str) -> Iterator[StorageAdapter]:
    """A store on a table whose second index projects these attributes."""
    bench.table = "partial"
    partial = table.definition("partial")
    some = {"ProjectionType": "INCLUDE", "NonKeyAttributes": list(attributes)}
    partial["GlobalSecondaryIndexes"][1]["Projection"] = some
    partial.pop("TableName")
    bench.raw("create_table", **partial)
    yield bench.open()
    bench.raw("delete_table")


def test_index_that_projects_a_few_attributes_serves(bench: Bench) -> None:
    with projecting(bench, "id", "createdAt", "status") as store:
        session = bench.create(store, active_agent_id="a", metadata=SessionMetadata(title="whole"))
        bench.create(store, active_agent_id="a", expires_at=bench.clock() + timedelta(seconds=1))
        bench.clock.advance(seconds=2)
        listed = bench.run(store.list_sessions(SessionFilter(active_agent_id="a"), limit=10))
        assert list(listed) == [session]
        assert "problems" not in bench.run(store.health()).details


def test_index_that_projects_most_of_a_session_does_not_fit(bench: Bench) -> None:
    with projecting(bench, *IS_WHOLE) as store:
        health = bench.run(store.health())
    assert (health.status, health.remedy) == ("degraded", "create index GSI2 again with ALL or KEYS_ONLY")
    assert health.details["problems"] == ["index GSI2 projects most of a session"]


def test_commands_make_and_describe_a_table(bench: Bench) -> None:
    bench.table = "commanded"
    assert "there is no table" in command("describe", url(bench)).output
    assert "was created" in command("create-table", url(bench), "--projection", "KEYS_ONLY").output
    assert "already exists" in command("create-table", url(bench)).output
    described = command("describe", url(bench))
    assert described.exit_code == 0
    assert "index GSI1: ACTIVE, projection KEYS_ONLY" in described.output
    bench.raw("delete_table")


def test_commands_refuse_another_scheme() -> None:
    with pytest.raises(ConfigError, match="dynamodb://"):
        command("describe", "memory://")


def test_listing_reads_what_a_narrow_index_leaves_out(bench: Bench) -> None:
    bench.table = "narrow"
    command("create-table", url(bench), "--projection", "KEYS_ONLY")
    for listing in ("exact", "index"):
        store = bench.open(listing=listing)
        session = bench.create(store, user_id=listing, metadata=SessionMetadata(title="whole", tags=["x"]))
        [found] = bench.run(store.list_sessions(SessionFilter(user_id=listing, tags=frozenset({"x"})), limit=5))
        assert found == session
    bench.raw("delete_table")


def test_cloudformation_template_passes_its_linter(tmp_path: Path) -> None:
    file = tmp_path / "table.json"
    file.write_text(command("template", "dynamodb://sessions").output)
    found = cfnlint.lint_file(file)
    assert [str(match) for match in found] == []


def test_terraform_template_states_the_table() -> None:
    [resource] = hcl2.loads(command("template", "dynamodb://sessions", "--format", "terraform").output)["resource"]
    [[kind, named]] = resource.items()
    [[name, held]] = named.items()
    assert (kind.strip('"'), name.strip('"')) == ("aws_dynamodb_table", "sessions")
    keys = {index["hash_key"].strip('"') for index in held["global_secondary_index"]}
    assert keys == {"GSI1PK", "GSI2PK"}
    assert {each["name"].strip('"') for each in held["attribute"]} == {
        name for names in table.KEYS.values() for name in names
    }
    assert held["ttl"][0]["attribute_name"].strip('"') == "ttl"


IN_TRANSACTIONS = {
    "ConditionCheck": "ConditionCheckItem",
    "Put": "PutItem",
    "Update": "UpdateItem",
    "Delete": "DeleteItem",
}
"""A transaction needs the permissions of its actions."""


def called(requests: list[Request]) -> set[str]:
    single = {request.api for request in requests} - {"TransactWriteItems"}
    together = [request.params["TransactItems"] for request in requests if request.api == "TransactWriteItems"]
    return single | {IN_TRANSACTIONS[kind] for actions in together for action in actions for kind in action}


def test_policy_grants_what_the_store_calls_and_nothing_on_other_tables(bench: Bench) -> None:
    bench.open()
    store = bench.open(create_table=False)
    with bench.meter.counting() as made:
        session = bench.create(store, user_id="u", expires_at=bench.clock() + timedelta(hours=1))
        chosen = bench.message(session, id="mine")
        bench.run(store.append_messages(session.id, [chosen], client_ids={"mine"}))
        bench.append(store, session, 2)
        bench.run(store.update_session(session.id, Patch({"user_id": "v"})))
        bench.run(store.get_messages(session.id, MessageQuery()))
        bench.run(store.list_sessions(SessionFilter(), limit=10))
        bench.run(store.health())
        bench.run(store.delete_session(session.id))
    policy = json.loads(command("template", "dynamodb://sessions", "--format", "iam").output)
    granted = {action.removeprefix("dynamodb:") for each in policy["Statement"] for action in each["Action"]}
    assert granted == called(made) | {"DescribeTimeToLive"}
    for statement in policy["Statement"]:
        assert all(resource.split("table/")[1].split("/")[0] == "sessions" for resource in statement["Resource"])


def test_templates_and_created_table_are_the_same(bench: Bench) -> None:
    bench.table = "same"
    bench.open()
    made = bench.raw("describe_table")["Table"]
    stated = json.loads(templates.template("cloudformation", "same"))["Resources"]["Sessions"]["Properties"]
    assert made["KeySchema"] == stated["KeySchema"]
    for index in made["GlobalSecondaryIndexes"]:
        [same] = [each for each in stated["GlobalSecondaryIndexes"] if each["IndexName"] == index["IndexName"]]
        assert (index["KeySchema"], index["Projection"]) == (same["KeySchema"], same["Projection"])
    bench.raw("delete_table")
