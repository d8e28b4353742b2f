"""The limit lines: what one would write by hand with the bare client, and nothing more."""
