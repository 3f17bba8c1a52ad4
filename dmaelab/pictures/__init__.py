"""What a pre-training run reconstructs: pictures, and mean squared errors."""
