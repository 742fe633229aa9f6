"""Remember: an append-only event log for each run, and the record folded from it."""
