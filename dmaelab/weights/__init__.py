"""Weight files of this project and of others: into models, and back into files.

Five verbs say what a function does:

* *rename*: the same tensors under the names of another layout.
* *read*: a file -> its tensors and facts, no model yet.
* *fill*: tensors -> a model that exists.
* *load*: a file -> a new model, made after what the file holds.
* *save*: a model -> a file.

The files are read best in this order: ``layouts.py`` (rename), ``files.py`` (read), ``sizes.py`` and ``facts.py`` (what
a file tells about its model, by the shapes of its tensors and beside them), ``fill.py``, ``load.py``, ``save.py``. Each
imports only earlier ones.
"""

from dmaelab.weights.files import WeightsError, read_file, read_weights
from dmaelab.weights.fill import LoadReport, fill_exact, fill_pretrained
from dmaelab.weights.load import load_classifier, load_pretrain
from dmaelab.weights.save import save_weights

load_pretrained = fill_pretrained
"""The former name of :func:`fill_pretrained`, for code that was written before."""

__all__ = [
    "LoadReport",
    "WeightsError",
    "fill_exact",
    "fill_pretrained",
    "load_classifier",
    "load_pretrain",
    "load_pretrained",
    "read_file",
    "read_weights",
    "save_weights",
]
