"""The one place where planning, scheduling, execution and the store meet."""
