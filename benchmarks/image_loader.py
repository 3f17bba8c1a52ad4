"""Speed of several ways from JPEG files to training images [3,224,224], on one core and with whole loaders.

    python -m benchmarks.image_loader [--images FOLDER] [--output docs/benchmarks/image_loader_cpu.json]

FOLDER has ``*.jpg`` or ``*.JPEG`` files at any depth; without it 64 pictures with sizes as in ImageNet are made. Every
way makes a random crop of 20 to 100 % of the area, resizes it bicubically to 224x224 and flips it, as in the
pre-training recipe. "Plain" is the common way: PIL and torchvision's first transforms, up to ``ToTensor``.

The ways are measured in turn. A ratio is the median over rounds of (time of plain) / (time of another way); above 1,
the other way is faster. Times are processor times, but for loaders with workers they are wall-clock times. The script
also prints how far the pixels of each way are from those of plain for the same crops, in grey levels of 0 to 255.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from tabulate import tabulate
from torch import Tensor
from torch.utils.data import DataLoader
from torchvision import transforms as v1
from torchvision.transforms import v2

from benchmarks.timing import ratio, take_turns, write_figures
from dmaelab.data import Dataset, build_train_loader
from dmaelab.data.decode import read_pil, read_rgb, to_tensor
from dmaelab.data.image_folder import ImageFiles
from dmaelab.data.transforms import random_horizontal_flip, random_resized_crop
from dmaelab.utils.cli import run_main

SIZE, SCALE, BATCH = 224, (0.2, 1.0), 32
BICUBIC = v2.InterpolationMode.BICUBIC
# Frequent widths and heights of ImageNet; one image in eight is large.
SIZES = [(500, 375), (500, 333), (375, 500), (500, 375), (400, 300), (500, 400), (333, 500), (1280, 960)]

crop, flip = random_resized_crop(SIZE, SCALE), random_horizontal_flip()
boxes = v2.RandomResizedCrop(SIZE, SCALE, interpolation=BICUBIC)
plain_crop = v1.RandomResizedCrop(SIZE, SCALE, interpolation=BICUBIC)
plain_rest = v1.Compose([v1.RandomHorizontalFlip(), v1.ToTensor()])


def plain(file: str) -> Tensor:
    """Use PIL and torchvision's first transforms: float32 in [0,1]."""
    return plain_rest(plain_crop(read_pil(file)))


def pil_then_tensor(file: str) -> Tensor:
    """Decode by PIL, make the whole image a contiguous tensor, and crop and resize it by torchvision."""
    return flip(boxes(to_tensor(read_pil(file)).contiguous()))


def pil_interleaved(file: str) -> Tensor:
    """As ``pil_then_tensor``, but with interleaved pixels, as PIL stores them.

    dmaelab loads images this way if torchvision has no JPEG decoder.
    """
    return flip(crop(to_tensor(read_pil(file))))


def pil_box(file: str) -> Tensor:
    """Draw the box first; PIL crops and resizes in one call, with a cheap reduction first if the box is large."""
    image = read_pil(file)
    return flip(to_tensor(image.resize((SIZE, SIZE), Image.Resampling.BICUBIC, _box(image), reducing_gap=2.0)))


def pil_draft(file: str) -> Tensor:
    """Draw the box first; PIL's decoder scales by 1/2, 1/4 or 1/8 if the box then still has 224 pixels on each side."""
    with Image.open(file) as image:
        left, top, right, bottom = _box(image)
        width, height = image.size
        share = SIZE / min(right - left, bottom - top)
        if share < 1:
            image.draft("RGB", (int(width * share), int(height * share)))
        small = image.convert("RGB")
    x, y = small.width / width, small.height / height
    return flip(
        to_tensor(small.resize((SIZE, SIZE), Image.Resampling.BICUBIC, (left * x, top * y, right * x, bottom * y)))
    )


def ours(file: str) -> Tensor:
    """Load as dmaelab does: torchvision's JPEG decoder, interleaved pixels."""
    return flip(crop(read_rgb(file)))


def _box(image: Image.Image) -> tuple[int, int, int, int]:
    box = boxes.make_params([image])
    return box["left"], box["top"], box["left"] + box["width"], box["top"] + box["height"]


WAYS: dict[str, Callable[[str], Tensor]] = {
    "plain": plain,
    "PIL, contiguous tensor": pil_then_tensor,
    "PIL, interleaved tensor": pil_interleaved,
    "PIL, box and reducing_gap": pil_box,
    "PIL, draft for the box": pil_draft,
    "dmaelab": ours,
}
PARTS: dict[str, Callable[[str], Any]] = {"decoding by PIL": read_pil, "decoding by torchvision": read_rgb}


def distances(files: list[str]) -> dict[str, dict[str, float]]:
    """Return the largest and the mean distance of each way's pixels from those of plain, for the same boxes."""
    found: dict[str, list[Tensor]] = {name: [] for name in WAYS}
    for number, file in enumerate(files):
        images = {}
        for name, way in WAYS.items():
            torch.manual_seed(number)
            image = way(file)
            images[name] = (image * 255 if image.is_floating_point() else image).round().int()
        for name, image in images.items():
            found[name].append((image - images["plain"]).abs())
    return {
        name: {
            "largest": max(int(each.max()) for each in apart),
            "mean": round(statistics.mean(float(each.double().mean()) for each in apart), 4),
            "unequal": round(statistics.mean(float((each > 0).double().mean()) for each in apart), 4),
        }
        for name, apart in found.items()
    }


class PlainSet(torch.utils.data.Dataset):
    """The data set of the plain loader."""

    def __init__(self, files: list[str]) -> None:
        self.files = files

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return plain(self.files[index]), 0


def loaders(dataset: Dataset, files: list[str], workers: int, images: int) -> dict[str, Callable[[], None]]:
    """Return measurements of the plain loader and of ours on ``images`` images, with warm workers."""
    repeated = PlainSet(files * 1000)
    common: Any = DataLoader(repeated, BATCH, shuffle=True, drop_last=True, num_workers=workers)
    streams = {
        "plain": iter(common),
        "dmaelab": iter(build_train_loader(dataset, BATCH, 0, workers, transform=[crop, flip])),
    }
    return {name: lambda stream=stream: _seconds(stream, images // BATCH, workers) for name, stream in streams.items()}


def _seconds(stream: Any, batches: int, workers: int) -> float:
    """Return the seconds of ``batches`` batches; batches prefetched during the other loader's turn are skipped."""
    for _ in range(2 * workers):
        next(stream)
    clock = time.perf_counter if workers else time.process_time
    started = clock()
    for _ in range(batches):
        next(stream)
    return clock() - started


def processor_seconds(way: Callable[[str], Any], files: list[str]) -> float:
    """Return the processor seconds of this process for reading all files in one way."""
    started = time.process_time()
    for file in files:
        way(file)
    return time.process_time() - started


def make_pictures(folder: Path, count: int = 64) -> None:
    """Write JPEGs with structure at all scales, with about 0.6 bytes per pixel, as in ImageNet."""
    rng = np.random.default_rng(0)
    for number in range(count):
        width, height = SIZES[number % len(SIZES)]
        total = np.zeros((height, width, 3))
        for cells in (4, 16, 64, 256):
            noise = Image.fromarray(rng.integers(0, 256, (cells, cells, 3), dtype=np.uint8))
            total += np.asarray(noise.resize((width, height), Image.Resampling.BICUBIC)) / cells**0.5
        total = (total - total.min()) / (total.max() - total.min()) * 255
        Image.fromarray(total.astype(np.uint8)).save(folder / f"{number:03d}.jpg", quality=92)


def measure(files: list[str], args: argparse.Namespace) -> dict[str, Any]:
    """Return rates, ratios and distances."""
    torch.manual_seed(0)
    work = {name: lambda way=way: processor_seconds(way, files) for name, way in {**WAYS, **PARTS}.items()}
    spent = take_turns(work, args.rounds)
    record: dict[str, Any] = {
        "images": len(files),
        "images/s of one core": {name: round(len(files) / statistics.median(times)) for name, times in spent.items()},
        "plain over this way, seconds": {name: round(ratio(spent, "plain", name), 2) for name in WAYS},
        "grey levels from plain": distances(files),
    }
    dataset = ImageFiles(files, [0] * len(files), ["any"])
    images = max(8, len(files) // BATCH) * BATCH
    for workers in (0, 2):
        spent = take_turns(loaders(dataset, files, workers, images), args.rounds)
        record[f"loader, {workers} workers"] = {
            **{f"{name}, images/s": round(images / statistics.median(times)) for name, times in spent.items()},
            "plain over dmaelab, seconds": round(ratio(spent, "plain", "dmaelab"), 2),
        }
    return record


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, help="folder of JPEGs")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--output", help="also write the figures as JSON")
    args = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        if args.images is None:
            make_pictures(Path(folder))
        place = args.images or Path(folder)
        files = sorted(str(file) for file in place.rglob("*") if file.suffix.lower() in (".jpg", ".jpeg"))
        if not files:
            parser.error(f"no .jpg or .jpeg in {place}")
        record = measure(files, args)
    ways = [
        [
            name,
            rate,
            record["plain over this way, seconds"].get(name),
            *record["grey levels from plain"].get(name, {}).values(),
        ]
        for name, rate in record["images/s of one core"].items()
    ]
    print(tabulate(ways, headers=["one core", "images/s", "ratio", "largest distance", "mean", "unequal"]), end="\n\n")
    for workers in (0, 2):
        print(f"loader, {workers} workers: {record[f'loader, {workers} workers']}")
    write_figures(args.output, "cpu", record=record)


if __name__ == "__main__":
    run_main(main)
