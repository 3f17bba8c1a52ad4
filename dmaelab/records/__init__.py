"""The certification log: rows, folders, restart, merging, and reading of other tools' logs. No torch here."""
