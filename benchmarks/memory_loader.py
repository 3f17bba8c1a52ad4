"""Speed of three ways to load training batches of images that fit into memory.

    python -m benchmarks.memory_loader [--device cpu] [--output docs/benchmarks/memory_loader_cpu.json]

The data set has the size of CIFAR-10: 50,000 images of 32x32. Each way makes a batch of float32 images [512,3,32,32] on
the device, randomly cropped (4 pixels of padding) and flipped:

* "plain": image by image, with PIL and torchvision's first transforms;
* "host": with batched augmentations on the host, then a copy to the device;
* "resident": with the same augmentations on the device, on which all images are stored.

There are no loader workers. The ways are measured in turn. A ratio is the median over rounds of (time of plain) / (time
of another way). The script also checks that "host" and "resident" give equal pixels.
"""

import statistics
import time
from typing import Any

import torch
from PIL import Image
from tabulate import tabulate
from torch.utils.data import DataLoader
from torchvision import transforms as v1

from benchmarks.timing import arguments, ratio, take_turns, wait, write_figures
from dmaelab.data import Dataset, Samples, build_dataset, build_train_loader, make_batch
from dmaelab.data.transforms import HorizontalFlip, RandomCrop
from dmaelab.utils.cli import run_main
from dmaelab.utils.random import Draw

COUNT, BATCH, STEPS = 50_000, 512, 10


class PlainSet(torch.utils.data.Dataset):
    """CIFAR-10 as in torchvision's class: each array becomes a PIL image, and then a tensor."""

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
    wait(device)
    return time.perf_counter() - started


def measure(device: torch.device, rounds: int, count: int = COUNT, batch: int = BATCH) -> dict[str, Any]:
    """Return milliseconds and ratios for batches out of ``count`` generated images."""
    data, pin = build_dataset("generated", count=count), device.type == "cuda"

    def stream(resident: torch.device | None) -> Any:
        return iter(
            build_train_loader(
                data, batch, 0, augment=[RandomCrop(4), HorizontalFlip()], pin_memory=pin, resident=resident
            )
        )

    host, resident = next(stream(None)), next(stream(device))
    equal = all(torch.equal(one, other.cpu()) for one, other in zip(host, resident, strict=True))
    most = count // batch // STEPS - 1  # the plain loader ends after one epoch
    streams = {
        "plain": iter(DataLoader(PlainSet(data), batch, shuffle=True, drop_last=True, pin_memory=pin)),
        "host": stream(None),
        "resident": stream(device),
    }
    work = {name: lambda batches=batches: seconds(batches, device) for name, batches in streams.items()}
    spent = take_turns(work, min(rounds, most))
    return {
        "milliseconds a step": {
            name: round(statistics.median(times) / STEPS * 1e3, 3) for name, times in spent.items()
        },
        "plain over this way": {name: round(ratio(spent, "plain", name), 2) for name in spent},
        "host and resident have equal pixels": equal,
    }


def main() -> None:
    """Measure and print."""
    args = arguments(__doc__, rounds=7).parse_args()
    torch.set_num_threads(1)
    record = measure(torch.device(args.device), args.rounds)
    milliseconds, ratios, equal = record.values()
    print(
        tabulate([[name, milliseconds[name], ratios[name]] for name in ratios], headers=["way", "ms a step", "ratio"])
    )
    print(f"host and resident have equal pixels: {equal}")
    write_figures(args.output, args.device, record=record)


if __name__ == "__main__":
    run_main(main)
