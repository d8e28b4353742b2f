"""Cancelled calls, broken connections, and stores that fail on purpose.

The names here, and `faults.proxy`, are meant for the tests of plugins and applications too.
"""

from session_continuity_conformance.faults.injection import (
    FAIL_AFTER as FAIL_AFTER,
    FAIL_BEFORE as FAIL_BEFORE,
    THROTTLE as THROTTLE,
    Chaos as Chaos,
    Fault as Fault,
    FaultyStorage as FaultyStorage,
    Plan as Plan,
    Planned as Planned,
    Random as Random,
    delay as delay,
)
