"""Random programs: any sequence of calls returns what the model returns."""

from __future__ import annotations

from session_continuity_conformance.cases import proves
from session_continuity_conformance.programs.search import search

test_random_programs_get_the_answers_of_the_model = proves("SC-SES-019", search)
