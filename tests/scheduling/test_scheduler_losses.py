"""Values that were there and are not any more: who runs again, who waits, who is decided again."""
