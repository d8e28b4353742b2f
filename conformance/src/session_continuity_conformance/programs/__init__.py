"""Random programs: sequences of calls to which a store and the model must give the same answers."""
