"""``python -m dmaelab list [PLUGIN...]``: print the registered classes and functions, one line each."""

import argparse

import dmaelab
from dmaelab.config import trust_plugins
from dmaelab.utils.cli import run_main

REGISTRIES = ("BACKBONES", "CORRUPTIONS", "LOSSES", "CERTIFIERS", "DATASETS")


def main() -> None:
    """Print the entries of every registry: the name, and the first line of the docstring."""
    parser = argparse.ArgumentParser(prog="python -m dmaelab", description=__doc__)
    parser.add_argument("command", choices=["list"])
    parser.add_argument("plugins", nargs="*", help="your own modules to import first, such as projects.speckle_demo")
    trust_plugins(parser.parse_args().plugins)
    for name in REGISTRIES:
        entries = getattr(dmaelab, name).describe()
        print(f"{name} ({len(entries)})")
        width = max(map(len, entries), default=0)
        for entry, line in entries.items():
            print(f"  {entry:<{width}}  {line}")


if __name__ == "__main__":
    run_main(main)
