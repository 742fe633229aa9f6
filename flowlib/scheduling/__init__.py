"""Order: facts in, commands out. No clock, no thread, no store in here."""
