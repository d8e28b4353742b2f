"""Errors of redis-py and of the server as errors of this project, each with what to do."""

from __future__ import annotations

import re
from collections.abc import Mapping

from redis import exceptions as redis

from session_continuity import (
    SessionContinuityError,
    StorageError,
    ThrottledError,
    UnavailableError,
    UnreadableError,
)

FAILURES = (redis.RedisError, redis.RedisClusterException, OSError, RuntimeError)
"""What a call of the client may raise."""

NAME_CLUSTER = "open it by redis+cluster://, which finds every node"

COMPLETED = (redis.RedisError, SessionContinuityError)
"""After these errors the connection holds no unread reply and can be reused."""

_POOL_TIMEOUT = "No connection available."
"""The message of redis-py's waiting pools, whose error has no class of its own."""

_IN_SCRIPT = re.compile(r"@user_script: ?\d+: -?([A-Z]+) ")
"""Redis before 7 reports the error of a command in a script inside a text of its own."""

_NOT_NOW: dict[str, str] = {
    "OOM": "the server's memory is full; raise maxmemory, or delete sessions",
    "READONLY": "this server is a replica and accepts no writes; connect to the primary",
    "MISCONF": "the server refuses writes because it cannot save to disk; look at its log",
    "NOREPLICAS": "the server refuses writes because too few replicas are connected",
    "BUSY": "the server is busy with a script",
    "TRYAGAIN": "the cluster is moving this session's slot",
    "CLUSTERDOWN": "the cluster does not serve this slot",
    "MASTERDOWN": "this replica has lost its primary",
}

_OTHER_HOST = "the server's certificate is for another host; name that host in the URL, or set tls_check=authority"
_NEVER: dict[str, str] = {
    "Cluster mode is not enabled": "this server is not a node of a cluster; open it by redis://",
    "cluster support disabled": "this server is not a node of a cluster; open it by redis://",
    "DB index is out of range": "the server has no database of this number; name another one in the URL",
    "unknown command 'HELLO'": "the server or proxy does not know HELLO; session-continuity needs Redis 6.2 or newer",
    "unknown command `HELLO`": "the server or proxy does not know HELLO; session-continuity needs Redis 6.2 or newer",
    "unknown command 'EVALSHA'": "the server or proxy runs no Lua scripts (EVALSHA), which session-continuity needs",
    "invalid bulk length": "a request was larger than the server's proto-max-bulk-len; lower max_message_bytes",
    "WRONGTYPE": "another application uses a key of the same name; choose another prefix or database",
    "can't run this command": "the scripts run a command that this user may not; see the README for its ACL",
    "Hostname mismatch": _OTHER_HOST,
    "IP address mismatch": _OTHER_HOST,
    "CERTIFICATE_VERIFY_FAILED": "the server's certificate is not trusted; name its authority by tls_ca",
}
"""Parts of errors that repeating the call does not mend, and what to do."""


def translate(error: Exception) -> SessionContinuityError | None:
    """This project's error for one of `FAILURES`, None for any other."""
    if not isinstance(error, FAILURES):
        return None
    return _connection_problem(error) or _reply_problem(error)


def _connection_problem(error: Exception) -> SessionContinuityError | None:
    if isinstance(error, redis.AuthenticationError | redis.AuthorizationError | redis.NoPermissionError):
        return StorageError(f"the server refuses these credentials ({error}); check user, password and ACL")
    if isinstance(error, redis.MaxConnectionsError) or str(error) == _POOL_TIMEOUT:
        return ThrottledError("all connections are in use; raise max_connections, or make fewer calls at once")
    if isinstance(error, redis.MovedError):
        return StorageError(f"this server is a node of a cluster; {NAME_CLUSTER}")
    for part, remedy in _NEVER.items():
        if part in str(error):
            return StorageError(remedy)
    if isinstance(error, redis.ConnectionError | redis.TimeoutError | OSError):
        return UnavailableError(f"the server cannot be reached ({type(error).__name__}: {error})")
    if isinstance(error, redis.ClusterError | redis.AskError | redis.RedisClusterException):
        return UnavailableError(f"the cluster cannot serve this at the moment ({error})")
    return None


def _reply_problem(error: Exception) -> SessionContinuityError:
    if isinstance(error, redis.ResponseError) and (remedy := _NOT_NOW.get(_code_of(error))):
        return UnavailableError(remedy)
    if isinstance(error, redis.ResponseError) and "non local key" in str(error):
        return UnavailableError(_NOT_NOW["TRYAGAIN"])
    if isinstance(error, redis.ResponseError) and _code_of(error) == "CROSSSLOT":
        return StorageError(f"this server is a node of a cluster; {NAME_CLUSTER}")
    if isinstance(error, redis.ResponseError) and "UNREADABLE" in str(error):  # raised by a script
        return UnreadableError("the session")
    return StorageError(str(error))


def _code_of(error: redis.ResponseError) -> str:
    text = str(error) if type(error) is redis.ResponseError else f"{_CODES.get(type(error), '')} {error}"
    found = _IN_SCRIPT.search(text)
    return found[1] if found else text.lstrip().split(" ", 1)[0]


_CODES: Mapping[type[Exception], str] = {redis.OutOfMemoryError: "OOM", redis.ReadOnlyError: "READONLY"}
"""redis-py's errors whose text lacks the code."""
