"""The clauses that extensions bring."""

from __future__ import annotations

from session_continuity_conformance.cases import clause
from session_continuity_conformance.vendors import vendor_examples

for _name, _example in vendor_examples().items():
    globals()[f"test_{_name.lower().replace('-', '_')}"] = clause(_name)(_example)
