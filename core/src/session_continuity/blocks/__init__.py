"""The shared reader of content blocks. `reader` describes it."""
