"""The verdicts of the conformance suite, written with the contract's current version."""

from __future__ import annotations

from session_continuity import CONTRACT

THIS_CONTRACT = f"{CONTRACT[0]}.{CONTRACT[1]}"
NEXT_CONTRACT = f"{CONTRACT[0]}.{CONTRACT[1] + 1}"

CONFORMANT = f"CONFORMANT {THIS_CONTRACT}"
NOT_CONFORMANT = f"NOT CONFORMANT {THIS_CONTRACT}"
WITH_EXCEPTIONS = f"CONFORMANT {THIS_CONTRACT} WITH EXCEPTIONS"
