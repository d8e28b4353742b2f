"""What holds for all tests: the markers that say where a test runs and why it takes long, and Ctrl-C."""

from __future__ import annotations

import signal

import pytest

MARKERS = (
    "on(fixture=values): run the test once for each value of the named fixture. The marker that is closest to the test "
    "counts. A test that does not use the fixture is not affected.",
    "long(reason): a test that takes long, and why it is worth it. `nox -s long` runs these tests, `nox -s tests` the "
    "others.",
)


def pytest_configure(config: pytest.Config) -> None:
    for marker in MARKERS:
        config.addinivalue_line("markers", marker)
    # A shell starts background jobs with Ctrl-C ignored, which every process below inherits; some tests send it.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Parametrise fixtures by the marker `on`, which a module states in `pytestmark` and a test overrides."""
    parametrised = set[str]()
    for marker in metafunc.definition.iter_markers("on"):  # the closest one first
        for fixture, values in marker.kwargs.items():
            if fixture in metafunc.fixturenames and fixture not in parametrised:
                metafunc.parametrize(fixture, values, ids=str, indirect=True)
                parametrised.add(fixture)
