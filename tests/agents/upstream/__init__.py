"""The frameworks' own tests, run with our classes in the place of theirs: `nox -s upstream`."""
