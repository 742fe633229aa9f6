"""The command line: `flowlib run`, `plan`, `why`, `cache`."""
