"""Starting engine entries: process groups, and pipelines of stages."""
