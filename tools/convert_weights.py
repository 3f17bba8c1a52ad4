#!/usr/bin/env python
"""Convert a file of weights to the tensor names of this project, of the official DMAE and MAE code, or of timm's ViT.

    python tools/convert_weights.py dmae_base.pth dmae_base.safetensors --to dmaelab --stats imagenet
    python tools/convert_weights.py runs/cifar10/rs rs.pth --to official
    python tools/convert_weights.py dmae_base.pth encoder.safetensors --to timm --stats imagenet

SOURCE is a run directory, or a file with any of these names. docs/weights.md says what is read, what is inferred
from the file, and what is refused.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from dmaelab.utils.cli import plugin_option, run_main
from dmaelab.utils.errors import UserError


def main() -> None:
    """Read and check the weights, write them, and print which tensors were kept, added and dropped."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "source", type=Path, metavar="SOURCE", help="file of weights, or run directory (its model_final.pth is read)"
    )
    parser.add_argument("output", type=Path, metavar="FILE", help="file to write, .pth or .safetensors")
    parser.add_argument(
        "--to",
        choices=("dmaelab", "official", "timm"),
        required=True,
        help="names to write; timm has none for a decoder, which is dropped",
    )
    parser.add_argument(
        "--heads", type=int, metavar="N", help="number of attention heads, if the file does not store it"
    )
    parser.add_argument("--decoder-heads", type=int, metavar="N", help="the same for the decoder")
    parser.add_argument(
        "--stats",
        nargs="+",
        metavar="S",
        help="pixel statistics, if the file stores none: imagenet, cifar10, or one mean per channel, then one standard"
        " deviation per channel, in [0,1] pixel units",
    )
    parser.add_argument(
        "--pixel-targets",
        action="store_true",
        help="the autoencoder predicts pixels and not normalised patches (official files with 'visualize' in the name)",
    )
    plugin_option(parser)
    args = parser.parse_args()

    from dmaelab.config import trust_plugins
    from dmaelab.weights import FillReport, save_weights
    from dmaelab.weights.facts import describe
    from dmaelab.weights.layouts import rename_to_own

    trust_plugins(args.plugin)
    model, before = _from_run(args) if args.source.is_dir() else _from_file(args)
    written = save_weights(model, args.output, args.to)
    after = rename_to_own(written)
    mean, std = ([round(value, 4) for value in buffer.flatten().tolist()] for buffer in model.preprocess.buffers())
    kept = FillReport(
        [name for name in after if name in before],
        [n for n in after if n not in before],
        [n for n in before if n not in after],
    )
    print(f"{args.source}: {describe(model)}; pixel mean {mean}, deviation {std}")
    print(f"{args.output}: {len(written)} tensors with the names of {args.to}: {kept}")


def _from_run(args: argparse.Namespace) -> tuple[Any, dict[str, Any]]:
    """Return the model of a run directory, built from its config, and its tensors."""
    import torch

    from dmaelab.engine.run_dir import RunDirectory

    if args.heads or args.decoder_heads or args.stats or args.pixel_targets:
        raise UserError(f"{args.source} is a run directory, whose config says all this: leave out all options but --to")
    model = RunDirectory(args.source).model("final", torch.device("cpu")).export()
    return model, model.state_dict()


def _from_file(args: argparse.Namespace) -> tuple[Any, dict[str, Any]]:
    """Return the model of a file, and the tensors of the file under the names of this project."""
    from dmaelab.weights import load_classifier, load_pretrain, read_weights
    from dmaelab.weights.heads import known_heads
    from dmaelab.weights.sizes import has_decoder

    weights = read_weights(args.source)
    writes_decoder = has_decoder(weights) and args.to != "timm"
    needed = {"num_heads": args.heads, **({"decoder_num_heads": args.decoder_heads} if writes_decoder else {})}
    for name, given in needed.items():
        if given is None and name not in known_heads(weights) and weights.kind != "unknown":
            option = "--heads" if name == "num_heads" else "--decoder-heads"
            raise UserError(f"{args.source}: the file does not tell {name}, and the converted file must: give {option}")
    mean, std = _statistics(args.stats)
    options: dict[str, Any] = {"num_heads": args.heads, "pixel_mean": mean, "pixel_std": std}
    if weights.kind == "classifier":
        if args.pixel_targets:
            raise UserError(f"{args.source} is a classifier: --pixel-targets is for autoencoders")
        return load_classifier(weights, **options), weights.state
    model = load_pretrain(weights, decoder_num_heads=args.decoder_heads, **options)
    if args.pixel_targets:
        if weights.facts.get("norm_pix"):
            raise UserError(f"{args.source} says that its targets are normalised patches: leave out --pixel-targets")
        model.norm_pix = False
    return model, weights.state


def _statistics(words: list[str] | None) -> tuple[Any, Any]:
    """Return pixel_mean and pixel_std: a name and None, or the first and the second half of the numbers."""
    if words is None or len(words) == 1:
        return (words[0] if words else None), None
    try:
        numbers = [float(word) for word in words]
    except ValueError:
        raise UserError(
            f"--stats {' '.join(words)}: give imagenet, cifar10, or one mean per channel and then one deviation per"
            " channel"
        ) from None
    return numbers[: len(numbers) // 2], numbers[len(numbers) // 2 :]


if __name__ == "__main__":
    run_main(main)
