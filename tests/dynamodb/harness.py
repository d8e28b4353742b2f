"""DynamoDB for the conformance suite: `session-continuity conformance --harness tests.dynamodb.harness:local`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from urllib.parse import urlencode

from ..missing import not_proved
from .engines import MissingEngineError, running

IDENTITY = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_EC2_METADATA_DISABLED": "true"}


@contextmanager
def local() -> Iterator[str | list[str]]:
    """DynamoDB Local, in memory."""
    os.environ.update(IDENTITY)
    with ExitStack() as stack:
        try:
            engine = stack.enter_context(running("local"))
        except MissingEngineError as missing:
            yield not_proved(f"dynamodb: {missing}")
            return
        options = {name: str(value).lower() for name, value in engine.options.items()}
        yield f"dynamodb://conversations?{urlencode({**options, 'endpoint_url': engine.url})}"
