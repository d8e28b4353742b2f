"""How each store is prepared: `contests(url, latency)` gives its contests, with everything they need running."""
