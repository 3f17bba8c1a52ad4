"""One thread of torch in every test: machines are shared, and results do not depend on their size."""

import torch

torch.set_num_threads(1)
