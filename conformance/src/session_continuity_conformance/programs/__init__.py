"""Random programs: sequences of calls that a store and the model must answer alike."""
