"""The clauses of extensions."""

from __future__ import annotations

from session_continuity_conformance.cases import clause
from session_continuity_conformance.extension_clauses import extension_examples

for _name, _example in extension_examples().items():
    globals()[f"test_{_name.lower().replace('-', '_')}"] = clause(_name)(_example)
