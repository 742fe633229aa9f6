"""Keep results: entries by key, blobs by digest. Any doubt about what was read is a miss, never a value."""
