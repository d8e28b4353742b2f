"""What decoding an item raises that is damaged, or that another program or a newer version wrote. Pure."""

from __future__ import annotations

import zlib

from pydantic import ValidationError

DAMAGE = (
    ValidationError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    ArithmeticError,
    RecursionError,
    zlib.error,
)
"""The errors. They quote what is stored, so they are dropped where they are caught, and are never chained."""
