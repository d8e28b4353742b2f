"""Errors of redis-py and of the server → the project's."""

from __future__ import annotations

from pydantic import ValidationError as PydanticError
from redis import exceptions as redis

from session_continuity import SessionContinuityError, StorageError, ThrottledError, UnavailableError

BACKEND = "redis"

FAILURES = (redis.RedisError, redis.RedisClusterException, OSError, RuntimeError, PydanticError, UnicodeDecodeError)
"""What a call of the client, or the decoding of its answer, may raise."""

COMPLETE = (redis.RedisError, SessionContinuityError)
"""Of these, the client and the scripts have left no answer behind that nobody has read."""

_POOL_WAITED = "No connection available."
"""What redis-py's pools that wait say in an error of no class of its own."""

_NOT_NOW: dict[str, str] = {
    "MISCONF": "the server refuses writes because it cannot save to disk; look at its log",
    "NOREPLICAS": "the server refuses writes because too few replicas are connected",
    "BUSY": "the server is busy with a script",
    "TRYAGAIN": "the cluster is moving this session's slot",
    "CLUSTERDOWN": "the cluster does not serve this slot",
    "MASTERDOWN": "this replica has lost its primary",
}


def translate(error: BaseException, operation: str) -> SessionContinuityError:
    """The project's error for a failure of the client, to be raised from it."""
    if isinstance(error, redis.AuthenticationError | redis.AuthorizationError | redis.NoPermissionError):
        return _storage(f"the server refuses these credentials ({error}); check user, password and ACL", operation)
    if isinstance(error, redis.MaxConnectionsError) or str(error) == _POOL_WAITED:
        return ThrottledError(
            "all connections are in use; raise max_connections, or call less at once",
            backend=BACKEND,
            operation=operation,
        )
    if isinstance(error, redis.OutOfMemoryError):
        return _unavailable("the server's memory is full; raise maxmemory, or delete sessions", operation)
    if isinstance(error, redis.ReadOnlyError):
        return _unavailable("this server is a replica and takes no writes; connect to the primary", operation)
    if "CERTIFICATE_VERIFY_FAILED" in str(error):
        return _storage(f"the server's certificate is not trusted ({error}); name its authority by tls_ca", operation)
    if isinstance(error, redis.ConnectionError | redis.TimeoutError | OSError):
        return _unavailable(f"the server cannot be reached ({type(error).__name__}: {error})", operation)
    if isinstance(error, redis.ClusterError | redis.AskError | redis.RedisClusterException):
        return _unavailable(f"the cluster cannot serve this at the moment ({error})", operation)
    return _other(error, operation)


def _other(error: BaseException, operation: str) -> SessionContinuityError:
    code = str(error).split(" ", 1)[0]
    if isinstance(error, redis.ResponseError) and code in _NOT_NOW:
        return _unavailable(_NOT_NOW[code], operation)
    if isinstance(error, redis.ResponseError) and "WRONGTYPE" in str(error):
        return _storage("a key of another application is in the way; choose another prefix or database", operation)
    if isinstance(error, redis.ResponseError) and "can't run this command" in str(error):
        return _storage("the scripts run a command that this user may not; see the README for its ACL", operation)
    if isinstance(error, redis.ResponseError) and "non local key" in str(error):
        return _unavailable(_NOT_NOW["TRYAGAIN"], operation)
    if isinstance(error, PydanticError):
        return _storage(
            f"the stored {error.title} does not read; was it written by a newer version? "
            f"{error.error_count()} problems, first at {error.errors(include_input=False)[0]['loc']}",
            operation,
        )
    if isinstance(error, UnicodeDecodeError):
        return _storage("the server's answer is not UTF-8; did a client of another encoding write it?", operation)
    if isinstance(error, RuntimeError):
        return _storage(f"{error}; an async store belongs to the event loop that it was first used in", operation)
    return _storage(str(error), operation)


def _unavailable(message: str, operation: str) -> UnavailableError:
    return UnavailableError(message, backend=BACKEND, operation=operation)


def _storage(message: str, operation: str) -> StorageError:
    return StorageError(message, backend=BACKEND, operation=operation)
