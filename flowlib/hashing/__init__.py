"""Name content and code: canonical digests of values, versions of functions. Nothing here reads the cache."""
