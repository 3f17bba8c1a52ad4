"""From certification logs to tables, comparisons and pictures. It does not import torch, so it starts at once."""
