"""Pure renderers: from records, plans and events to text and HTML. Nothing here computes a task."""
