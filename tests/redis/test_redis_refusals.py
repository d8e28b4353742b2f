"""Servers, URLs and replies that cannot serve: what is said, and whether repeating the call can help."""

from __future__ import annotations

import traceback

import pytest
import redis
from redis.exceptions import OutOfMemoryError, ReadOnlyError, ResponseError

from session_continuity import (
    Mode,
    Patch,
    SessionContinuityError,
    StorageError,
    UnavailableError,
)
from session_continuity_redis.errors import translate

from ..kit.modes import MODES
from ..kit.redis_servers import EVERY_ENGINE, Server
from .conftest import MakeServer
from .stores import Bench

pytestmark = pytest.mark.on(engine=EVERY_ENGINE, mode=MODES)


def refusal(url: str, mode: Mode) -> SessionContinuityError:
    """What a store raises that is set up and used at this URL."""
    bench = Bench(url, mode)
    try:
        bench(bench.store.setup())
        bench.create()
    except SessionContinuityError as error:
        return error
    finally:
        bench.close()
    raise AssertionError("it was not refused")


def test_a_node_of_a_cluster_is_refused_at_setup(make_server: MakeServer, mode: Mode) -> None:
    error = refusal(make_server("--cluster-enabled", "yes").url, mode)
    assert "redis+cluster://" in error.message
    assert not error.retryable


def test_a_cluster_url_of_a_plain_server_names_the_right_one(server: Server, mode: Mode) -> None:
    error = refusal(f"redis+cluster://127.0.0.1:{server.port}", mode)
    assert "open it by redis://" in error.message
    assert not error.retryable


def test_a_database_that_is_not_there_is_no_passing_failure(server: Server, mode: Mode) -> None:
    error = refusal(f"{server.url}/99", mode)
    assert "no database of this number" in error.message
    assert not error.retryable


def test_a_server_without_scripts_says_so(make_server: MakeServer, mode: Mode) -> None:
    error = refusal(make_server("--rename-command", "EVALSHA", "").url, mode)
    assert "Lua scripts" in error.message
    assert not error.retryable


def test_a_user_that_may_not_ask_for_info_may_store(make_server: MakeServer, mode: Mode) -> None:
    server = make_server()
    with server.client() as client:
        client.execute_command("ACL", "SETUSER", "app", "on", ">secret", "~*", "+@all", "-info")
    bench = Bench(f"redis://app:secret@127.0.0.1:{server.port}", mode)
    bench(bench.store.setup())
    assert bench.create().id == "s"
    bench.close()


@pytest.mark.parametrize(
    ("error", "retryable", "words"),
    [
        (ResponseError("Error running script (call to f_1): @user_script:1: -OOM command not allowed"), True, "memory"),
        (ResponseError("Error running script (call to f_1): @user_script: 1: -READONLY You can't"), True, "replica"),
        (ResponseError("Error running script (call to f_1): @user_script:7: -MISCONF Redis is"), True, "save to disk"),
        (OutOfMemoryError("command not allowed when used memory > 'maxmemory'."), True, "memory"),
        (ReadOnlyError("You can't write against a read only replica."), True, "replica"),
        (ResponseError("Protocol error: invalid bulk length"), False, "max_message_bytes"),
        (ResponseError("unknown command 'HELLO', with args beginning with: '3'"), False, "HELLO"),
        (ResponseError("CROSSSLOT Keys in request don't hash to the same slot"), False, "redis+cluster://"),
        (redis.exceptions.MovedError("866 127.0.0.1:7001"), False, "redis+cluster://"),
        (redis.ConnectionError("Hostname mismatch, certificate is not valid for 'h'"), False, "tls_check"),
    ],
)
def test_errors_of_any_version_are_told_alike(error: Exception, retryable: bool, words: str) -> None:
    found = translate(error)
    assert isinstance(found, UnavailableError if retryable else StorageError)
    assert found.retryable is retryable
    assert words in found.message


def test_a_session_that_cannot_be_read_shows_nothing_of_its_content(
    bench: Bench, server: Server, namespace: str
) -> None:
    bench.create(user_id="ada")
    with server.client() as client:
        key = f"sc:s:{{{namespace}:s}}"
        client.zremrangebyscore(key, -5, -5)
        client.zadd(key, {'"metadata":{"custom":{"hunter2":"hunter3"': -5})
    for call in (bench.store.get_session("s"), bench.store.update_session("s", Patch(set={"handoffs": []}))):
        with pytest.raises(StorageError, match="cannot be read") as refused:
            bench(call)
        shown = "".join(traceback.format_exception(refused.value))
        assert "hunter" not in shown
        assert not refused.value.retryable
