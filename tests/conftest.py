"""One thread of torch in every test and in what tests start: machines are shared, and results do not depend on their
size.
"""

import os

os.environ["OMP_NUM_THREADS"] = "1"

import torch

torch.set_num_threads(1)
