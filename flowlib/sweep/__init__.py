"""Parameter studies: spaces of points, fan-out into nodes, reducers that fan them in."""
