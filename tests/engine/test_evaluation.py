import pytest
import torch

from dmaelab.data import build_dataset
from dmaelab.engine.evaluation import evaluate
from dmaelab.engine.run_dir import RunDirectory
from dmaelab.engine.settings import TrainSettings


def test_evaluation_does_not_depend_on_the_number_of_processes(classifier_run, monkeypatch):
    model, dataset = (
        RunDirectory(classifier_run).model("final", torch.device("cpu")),
        build_dataset("digits", split="val"),
    )
    settings = TrainSettings(out_dir="", max_iter=1, batch_size=1, eval_images=90, eval_batch_size=20)
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
