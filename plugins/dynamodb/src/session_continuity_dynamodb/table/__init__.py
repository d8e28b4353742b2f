"""The table itself: its definition, how it is created and checked, templates, and the commands about it."""
