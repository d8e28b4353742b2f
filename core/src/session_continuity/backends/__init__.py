"""From a URL to a store that is ready to use."""
