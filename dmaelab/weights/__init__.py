"""Weight files: reading, renaming, loading into a model, and writing, in the layouts of this package and of others."""

from dmaelab.weights.export import save_weights
from dmaelab.weights.files import WeightsError, load_exact, load_file, read_weights
from dmaelab.weights.official_optimizer import from_official_optimizer
from dmaelab.weights.pretrained import load_classifier, load_pretrain
from dmaelab.weights.transfer import LoadReport, load_pretrained

__all__ = [
    "LoadReport",
    "WeightsError",
    "from_official_optimizer",
    "load_classifier",
    "load_exact",
    "load_file",
    "load_pretrain",
    "load_pretrained",
    "read_weights",
    "save_weights",
]
