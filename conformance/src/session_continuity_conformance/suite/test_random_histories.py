"""Random histories: one order of all calls explains every answer."""

from __future__ import annotations

from session_continuity_conformance.cases import proves
from session_continuity_conformance.concurrency.random_histories import search

test_random_histories_have_one_order = proves("SC-ORD-011", search)
