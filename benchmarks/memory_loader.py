#!/usr/bin/env python
"""A step's data where the images fit into memory (CIFAR-10: 50,000 of 32x32, batch 512): milliseconds by three ways, in one run.

    python benchmarks/memory_loader.py [--device cpu] [--output docs/benchmarks/memory_loader_cpu.json]

Each makes float32 images [512,3,32,32] on the device, randomly cropped (4 pixels of padding) and flipped: "plain" image by image
with PIL and torchvision's first transforms, "host" by the batched augmentations on the host, then copied, "resident" by the same
augmentations where the images live on the device. No workers. Ways take turns; a ratio is the median over rounds of the plain
way's time over that of another, and the pixels of "host" and "resident" are compared.
"""

import argparse
import statistics
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
from image_loader import ratio, take_turns
from PIL import Image
from tabulate import tabulate
from torch.utils.data import DataLoader
from torchvision import transforms as v1

from dmaelab.data import Dataset, Samples, build_dataset, build_train_loader, make_batch
from dmaelab.data.transforms import HorizontalFlip, RandomCrop
from dmaelab.utils.env import environment
from dmaelab.utils.files import write_json
from dmaelab.utils.random import Draw

BATCH, STEPS = 512, 10


class PlainSet(torch.utils.data.Dataset):
    """CIFAR-10 as torchvision's own class shows it: an array becomes a PIL image, then a tensor, image by image."""

    def __init__(self, data: Dataset) -> None:
        assert data.images is not None
        self.pixels, self.targets = data.images.permute(0, 2, 3, 1).contiguous().numpy(), data.targets.tolist()
        self.transform = v1.Compose([v1.RandomCrop(32, padding=4), v1.RandomHorizontalFlip(), v1.ToTensor()])

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        return self.transform(Image.fromarray(self.pixels[index])), self.targets[index]


def seconds(stream: Any, device: torch.device) -> float:
    """Return the time of ``STEPS`` batches on the device."""
    started = time.perf_counter()
    for _ in range(STEPS):
        images, targets = next(stream)[:2]
        make_batch(Samples(images, targets, targets), device, Draw(0, "train", 0, 0), progress=0.0)
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - started


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--output", help="also write the figures as JSON")
    args = parser.parse_args()
    torch.set_num_threads(1)
    device, data, pin = torch.device(args.device), build_dataset("generated", count=50_000), args.device != "cpu"

    def stream(resident: torch.device | None) -> Any:
        return iter(build_train_loader(data, BATCH, 0, augment=[RandomCrop(4), HorizontalFlip()], pin_memory=pin, resident=resident))

    host, resident = next(stream(None)), next(stream(device))
    equal = all(torch.equal(one, other.cpu()) for one, other in zip(host, resident, strict=True))
    most = 50_000 // BATCH // STEPS - 1  # the plain loader ends with its epoch
    streams = {
        "plain": iter(DataLoader(PlainSet(data), BATCH, shuffle=True, drop_last=True, pin_memory=pin)),
        "host": stream(None),
        "resident": stream(device),
    }
    work = {name: lambda batches=batches: seconds(batches, device) for name, batches in streams.items()}
    spent = take_turns(work, min(args.rounds, most))
    record = {
        "milliseconds a step": {name: round(statistics.median(times) / STEPS * 1e3, 3) for name, times in spent.items()},
        "plain over this way": {name: ratio(spent, "plain", name) for name in spent},
        "host and resident have equal pixels": equal,
    }
    print(tabulate([[name, *(record[key][name] for key in list(record)[:2])] for name in spent], headers=["way", "ms a step", "ratio"]))
    print(f"host and resident have equal pixels: {equal}")
    if args.output:
        write_json(args.output, {"environment": environment(), "device": args.device, "record": record})


if __name__ == "__main__":
    main()
