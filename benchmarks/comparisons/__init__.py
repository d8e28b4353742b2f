"""How each store is compared: `open_comparisons(setup)` opens its subjects, with the servers that they need."""
