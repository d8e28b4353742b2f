"""What a run found, and how it is told: to people, to programs, in a README."""
