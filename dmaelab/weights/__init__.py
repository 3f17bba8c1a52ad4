"""Load weight files of this project and of others into models, and save models as weight files.

The verb in a function's name says what it does:

* *rename*: give tensors the names of another layout.
* *read*: return the tensors and facts of a file, without making a model.
* *fill*: copy tensors into an existing model.
* *load*: make a new model from a file; its sizes are taken from the file.
* *save*: write a model to a file.

Read the modules in this order; each imports only earlier ones: ``layouts.py`` (rename), ``files.py`` (read),
``sizes.py`` (what the shapes of the tensors tell about the model), ``facts.py`` (what no tensor of a model tells),
``heads.py`` and ``statistics.py`` (how it is found out for a file), ``fill.py``, ``load.py``, ``save.py``.
"""

from dmaelab.weights.files import WeightsError, read_file, read_weights
from dmaelab.weights.fill import FillReport, fill_exact, fill_pretrained
from dmaelab.weights.load import load_classifier, load_pretrain
from dmaelab.weights.save import save_weights

__all__ = [
    "FillReport",
    "WeightsError",
    "fill_exact",
    "fill_pretrained",
    "load_classifier",
    "load_pretrain",
    "read_file",
    "read_weights",
    "save_weights",
]
