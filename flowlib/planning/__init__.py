"""Decide: may a stored result be reused? One function answers for the run, for `plan` and for `why`."""
