"""The conformance suite: every sentence of the storage contract as a clause, and the proof that a store keeps it.

`session-continuity conformance URL`, or `pytest --pyargs session_continuity_conformance.suite --sc-url=URL`.
"""

from session_continuity_conformance._version import __version__

__all__ = ["__version__"]
