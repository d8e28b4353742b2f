"""psycopg's errors as errors of this project, each with what to do."""

from __future__ import annotations

import re
from collections.abc import Mapping

import psycopg

from session_continuity import SessionContinuityError, StorageError, ThrottledError, UnavailableError, ValidationError

_SETUP = "call setup(), or let the owner of the database run the output of `session-continuity postgres schema`"

_ENCODING = "the database is not encoded as UTF8, so it cannot hold some character; create one with ENCODING 'UTF8'"

_REMEDIES: Mapping[str, str] = {
    "22021": _ENCODING,
    "22P05": _ENCODING,
    "25006": "the server is read-only, most likely a standby; connect to the primary, or name both hosts in the URL",
    "26000": "a pooler mixes up prepared statements; open the store with prepare=false",
    "28000": "the server refuses this user; check user, sslmode and the server's pg_hba.conf",
    "28P01": "the server refuses the password",
    "3D000": "there is no such database; create it",
    "3F000": f"there is no such schema: {_SETUP}",
    "42501": "this user lacks a permission; grant it, or let the owner of the tables run setup() once",
    "42703": f"a column is missing: {_SETUP}",
    "42883": f"a function is missing: {_SETUP}",
    "42P01": f"a table is missing: {_SETUP}",
    "42P05": "a pooler mixes up prepared statements; open the store with prepare=false",
    "53100": "the disk of the server is full; free space",
    "54000": "the values of this call are larger than the server takes; split the batch",
}
_NO_CONNECTION = "the server has no connection left; raise its max_connections, or put a pooler in between"
_THROTTLED = frozenset({"53300", "53400"})
_REPEATABLE = frozenset({"40001", "40P01"})
_UNAVAILABLE = ("08", "25006", "40", "53", "55P03", "57", "58", "72")
_NEEDS_SETUP = frozenset({"3F000", "42703", "42883", "42P01"})


def is_repeatable(error: Exception) -> bool:
    """Whether the server undid the statement because of others, so that sending it again is the remedy."""
    return isinstance(error, psycopg.Error) and error.sqlstate in _REPEATABLE


def is_wrong_server(error: Exception) -> bool:
    """Whether the server does not take writes any more. Its connections stay open, and would refuse every write."""
    return isinstance(error, psycopg.Error) and error.sqlstate == "25006"


def needs_setup(error: Exception) -> bool:
    """Whether `setup` would remove the cause of the error."""
    return isinstance(error, psycopg.Error) and error.sqlstate in _NEEDS_SETUP


def translate(error: Exception) -> SessionContinuityError | None:
    """This project's error for one of psycopg, psycopg_pool or the network, None for any other."""
    if isinstance(error, UnicodeEncodeError):
        return ValidationError("text has a lone surrogate, which UTF-8 cannot encode; nothing was written")
    if not isinstance(error, psycopg.Error | OSError):
        return None
    state = error.sqlstate if isinstance(error, psycopg.Error) else None
    if state is None:
        return _without_state(error)
    if state in _THROTTLED:
        return ThrottledError(_NO_CONNECTION)
    remedy = _REMEDIES.get(state)
    if state.startswith(_UNAVAILABLE):
        return UnavailableError(
            remedy or f"the server cannot serve at the moment ({type(error).__name__}, {state})", sqlstate=state
        )
    # psycopg's text may quote what was sent. It is in the chained exception.
    return StorageError(remedy or f"the server refused the statement ({type(error).__name__}, {state})", sqlstate=state)


def _without_state(error: Exception) -> SessionContinuityError:
    """psycopg gives no state where no server answered, nor for the reason why a connection was refused."""
    kind = type(error).__name__
    if kind in ("PoolTimeout", "TooManyRequests"):  # of psycopg_pool, which need not be installed
        return ThrottledError("the pool has no free connection, or cannot open one; its log says which")
    text = str(error)
    if _FULL.search(text):
        return ThrottledError(_NO_CONNECTION)
    for pattern, remedy in _REFUSED.items():
        if re.search(pattern, text):
            return StorageError(remedy)
    if isinstance(error, psycopg.OperationalError | psycopg.InterfaceError | OSError):
        return UnavailableError(
            "the server was not reached, closed the connection, or did not answer in time; the chained exception says "
            "which"
        )
    return StorageError(f"the client refused the call ({kind}); the chained exception says why")


_REFUSED: Mapping[str, str] = {
    "password authentication failed": _REMEDIES["28P01"],
    "no password supplied": "the server wants a password; put it in the URL as ${NAME}, or into ~/.pgpass",
    'no pg_hba.conf entry|role ".*" does not exist|authentication failed': _REMEDIES["28000"],
    'database ".*" does not exist': _REMEDIES["3D000"],
    "certificate verify failed": "the server's certificate is not trusted; name its authority by sslrootcert",
    "does not match host name": "the server's certificate is for another host; name that host in the URL, or set "
    "sslmode=verify-ca, which checks its authority alone",
    "root certificate file .* does not exist": "sslmode wants a certificate to trust; name its file by sslrootcert, or "
    "set sslrootcert=system",
    "server does not support SSL": "the server offers no TLS; set sslmode=prefer, or turn TLS on in the server",
}
"""Patterns of libpq's texts in English, which is the server's language too unless it was set to another."""

_FULL = re.compile("too many clients|remaining connection slots|too many connections")
