"""From certification logs to tables and curves. No torch here: starts at once anywhere."""
