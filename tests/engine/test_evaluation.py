import os

import pytest
import torch

from dmaelab.data import Dataset, build_dataset
from dmaelab.engine.evaluation import evaluate
from dmaelab.engine.run_dir import RunDirectory
from dmaelab.engine.settings import TrainSettings


def test_evaluation_does_not_depend_on_the_number_of_processes(classifier_run, monkeypatch):
    model, dataset = (
        RunDirectory(classifier_run).model("final", torch.device("cpu")),
        build_dataset("digits", split="val"),
    )
    settings = TrainSettings(out_dir="run", max_iter=1, batch_size=1, eval_images=90, eval_batch_size=20)
    whole = evaluate(model, dataset, settings, torch.device("cpu"))
    for world in (2, 3, 8):
        parts = []
        monkeypatch.setattr("dmaelab.engine.evaluation.world_size", lambda world=world: world)
        monkeypatch.setattr(
            "dmaelab.engine.evaluation.all_reduce", lambda tensor, _, parts=parts: parts.append(tensor) or tensor
        )
        for rank in range(world):
            monkeypatch.setattr("dmaelab.engine.evaluation.rank", lambda rank=rank: rank)
            evaluate(model, dataset, settings, torch.device("cpu"))
        count, *sums = torch.stack(parts).sum(dim=0).tolist()
        assert [total / count for total in sums] == pytest.approx(list(whole.values()), rel=1e-12)


class WhereItIsLoaded(Dataset):
    """Images that are white if they were loaded in another process than that of the test, else black."""

    def __init__(self):
        super().__init__(targets=[0] * 4, classes=["any"], image_shape=(1, 2, 2))
        self.process = os.getpid()

    def load(self, index):
        return torch.full((1, 2, 2), 255 * (os.getpid() != self.process), dtype=torch.uint8), 0


class Brightness(torch.nn.Module):
    def evaluate(self, batch):
        return {"brightness": batch.images.mean()}


@pytest.mark.parametrize("workers", [0, 2])
def test_images_that_are_not_in_memory_are_loaded_by_the_workers_of_the_training(workers):
    settings = TrainSettings(out_dir="run", max_iter=1, batch_size=1, eval_batch_size=2, num_workers=workers)
    assert evaluate(Brightness(), WhereItIsLoaded(), settings, torch.device("cpu")) == {"brightness": min(workers, 1)}
