"""Describe work: tasks, the nodes their calls make, and the closed graph of what a target needs. Nothing here runs."""
