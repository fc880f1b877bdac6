"""From a planned file to rows, in a task."""
