"""Pictures of what a pre-training learned, and the errors of its reconstructions."""
