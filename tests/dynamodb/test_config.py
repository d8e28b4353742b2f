"""Options, URLs and clients: what is taken, what is refused, what is imported."""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys
from typing import Any

import boto3
import pytest

from session_continuity import ConfigError, Patch, StorageClosedError, parse_url, portable, run_now
from session_continuity_dynamodb import DynamoDBStorage
from session_continuity_dynamodb.config import DynamoDBOptions
from session_continuity_dynamodb.entry_point import plugin
from session_continuity_dynamodb.requests import client as clients

from ..kit.dynamodb_engines import REGION, TRUSTED
from ..kit.dynamodb_proxy import Call, proxy_to
from .bench import Bench, native_client

pytestmark = pytest.mark.on(engine=TRUSTED, mode=["blocking"])


def options(url: str) -> DynamoDBOptions:
    return DynamoDBOptions.from_url(parse_url(url))


def test_url_states_table_and_options() -> None:
    found = options(
        "dynamodb://chat?region=eu-west-1&profile=p&endpoint_url=http%3A%2F%2F127.0.0.1%3A8000&consistent_read=false"
        "&append=serial&connect_timeout=1&read_timeout=3.5&max_attempts=2&max_pool_connections=5&namespace=n"
        "&compression=zlib"
    )
    assert found == DynamoDBOptions(
        table="chat",
        region="eu-west-1",
        profile="p",
        endpoint_url="http://127.0.0.1:8000",
        consistent_read=False,
        append="serial",
        connect_timeout=1,
        read_timeout=3.5,
        max_attempts=2,
        max_pool_connections=5,
        namespace="n",
        compression="zlib",
    )


@pytest.mark.parametrize(
    "url",
    [
        "dynamodb://AKIDEXAMPLE:hunter2@chat",
        "dynamodb://chat?aws_secret_access_key=hunter2",
        "dynamodb://chat?AWS-Session-Token=hunter2",
        "dynamodb://chat?password=hunter2",
    ],
)
def test_credentials_in_a_url_are_refused_with_a_pointer_to_the_chain(url: str) -> None:
    with pytest.raises(ConfigError, match="AWS chain") as raised:
        options(url)
    assert "hunter2" not in str(raised.value)


@pytest.mark.parametrize(
    "url",
    [
        "dynamodb://",
        "dynamodb://chat/extra",
        "dynamodb://chat:8000",
        "dynamodb://chat?regoin=x",
        "dynamodb://chat?append=maybe",
        "dynamodb://chat?read_timeout=0",
        "dynamodb://chat?read_timeout=inf",
        "dynamodb://chat?endpoint_url=file%3A%2F%2F%2Fetc",
        "dynamodb://chat?endpoint_url=http%3A%2F%2Fuser%3Ahunter2%40host",
    ],
)
def test_wrong_url_is_refused_without_an_echo(url: str) -> None:
    with pytest.raises(ConfigError) as raised:
        options(url)
    assert "hunter2" not in str(raised.value)


def test_wrong_argument_is_a_config_error() -> None:
    with pytest.raises(ConfigError, match="max_attempts"):
        DynamoDBStorage(table="chat", max_attempts=0)


def test_plugin_is_found_without_importing_an_aws_library() -> None:
    program = (
        "import sys; from session_continuity import default_registry as r; p = r().plugin('dynamodb'); "
        "r().hooks; p.capabilities(p.options(table='chat')); "
        "sys.exit(any(n.startswith(('boto', 'aiobotocore', 'typer')) for n in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


@pytest.mark.parametrize(("url", "turn"), [("dynamodb://chat", 48), ("dynamodb://chat?append=serial", 1)])
def test_turn_is_bounded_by_what_one_transaction_holds(url: str, turn: int) -> None:
    assert plugin.capabilities(options(url)).max_batch == turn


def test_own_client_has_explicit_retries_and_timeouts(bench: Bench) -> None:
    store = bench.open(max_attempts=7, connect_timeout=1.5, read_timeout=2.5, max_pool_connections=3)
    config = native_client(store).meta.config
    assert config.retries["total_max_attempts"] == 7
    assert config.retries["mode"] == "standard"
    assert (config.connect_timeout, config.read_timeout, config.max_pool_connections) == (1.5, 2.5, 3)


def test_given_client_is_used_and_left_open(bench: Bench) -> None:
    bench.open()
    client = boto3.client("dynamodb", endpoint_url=bench.engine.url, region_name=REGION)
    store = portable(DynamoDBStorage(client=client, table=bench.table, namespace=bench.namespace))
    session = bench.create(store)
    [sent] = bench.append(store, session)
    assert native_client(store) is client
    assert run_now(store.get_message(session.id, sent.id)) == sent
    run_now(store.close())
    assert client.describe_table(TableName=bench.table)["Table"]["TableName"] == bench.table
    with pytest.raises(StorageClosedError):
        run_now(store.get_session(session.id))
    client.close()


@pytest.mark.on(mode=["async"])
def test_boto3_client_serves_async_mode_in_threads(bench: Bench) -> None:
    bench.open()
    client = boto3.client("dynamodb", endpoint_url=bench.engine.url, region_name=REGION)
    store = portable(DynamoDBStorage(client=client, table=bench.table, namespace=bench.namespace, mode="async"))
    session = bench.create(store)
    bench.append(store, session, 3)
    outcomes = bench.run_together(*[lambda: store.get_session(session.id)] * 5)
    assert all(getattr(held, "message_count", None) == 3 for held in outcomes)
    assert bench.run(store.delete_session(session.id))
    bench.run(store.close())
    client.close()


@pytest.mark.on(mode=["async"])
def test_store_that_is_closed_while_it_opens_leaves_nothing_open(bench: Bench) -> None:
    bench.open()
    options = {name: value for name, value in bench.engine.options.items() if name != "create_table"}

    async def close_at_once() -> list[Any]:
        store = portable(DynamoDBStorage(mode="async", table=bench.table, **options))
        calls = [asyncio.create_task(store.get_session("any")) for _ in range(3)]
        await asyncio.sleep(0)
        await store.close()
        return await asyncio.gather(*calls, return_exceptions=True)

    assert [type(outcome) for outcome in bench.run(close_at_once())] == [StorageClosedError] * 3
    gc.collect()  # what is left open warns, which is an error here


def test_call_that_a_close_overtakes_sends_nothing_more(bench: Bench) -> None:
    session = bench.create(bench.open())
    [sent] = bench.append(bench.open(), session)
    with proxy_to(bench.engine.url) as proxy:
        store = bench.open(endpoint_url=proxy.url)

        def close(call: Call) -> tuple[int, dict[str, str], bytes]:
            run_now(store.close())
            return call.forward()

        proxy.rules["BatchGetItem"] = [close]
        with pytest.raises(StorageClosedError):
            run_now(store.update_message(session.id, sent.id, Patch({"content": "other"})))
    assert run_now(bench.open().get_message(session.id, sent.id)) == sent


@pytest.mark.on(mode=["async"])
def test_async_client_is_refused_in_blocking_mode(bench: Bench) -> None:
    with pytest.raises(ConfigError, match="boto3"):
        DynamoDBStorage(client=native_client(bench.open()), table=bench.table)


@pytest.mark.on(mode=["async"])
def test_one_async_store_serves_every_loop_and_leaves_no_connection_behind(bench: Bench) -> None:
    store = bench.open()
    asyncio.run(store.get_session("any"))
    before = len(os.listdir("/dev/fd"))
    for _ in range(20):
        assert asyncio.run(store.get_session("any")) is None
    assert len(os.listdir("/dev/fd")) == before


@pytest.mark.on(mode=["async"])
def test_a_client_that_was_passed_in_is_refused_in_a_second_loop_before_anything_is_sent(bench: Bench) -> None:
    passed = DynamoDBStorage(client=native_client(bench.open()), table=bench.table, mode="async")
    run = bench.run
    assert run(passed.get_session("any")) is None
    with pytest.raises(ConfigError, match="different event loop"):
        asyncio.run(passed.get_session("any"))


@pytest.mark.parametrize("fast", [True, False])
def test_answers_decode_alike_with_and_without_the_fast_decoder(bench: Bench, fast: bool) -> None:
    bench.open()
    client = boto3.client("dynamodb", endpoint_url=bench.engine.url, region_name=REGION)
    if fast:
        clients.decode_fast(client)
    store = DynamoDBStorage(client=client, table=bench.table, namespace=bench.namespace, compression="zlib")
    session = bench.create(store, user_id="u")
    sent = [bench.message(session, content) for content in ("short", "long " * 2000, [{"type": "text", "text": "x"}])]
    for message in sent:
        run_now(store.append_messages(session.id, [message]))
    held = run_now(store.get_session(session.id))
    assert held is not None
    assert held.message_count == 3
    assert [run_now(store.get_message(session.id, message.id)) for message in sent] == sent
    run_now(store.close())
    client.close()


@pytest.mark.parametrize("more", ["namespace=a", "append=serial"])
def test_options_that_the_kit_does_not_share_are_refused_beside_it(more: str) -> None:
    with pytest.raises(ConfigError, match="beside_kit"):
        options(f"dynamodb://table?beside_kit=true&{more}")
