"""The results of a run, and reports of them: for people, for programs and for a README."""
