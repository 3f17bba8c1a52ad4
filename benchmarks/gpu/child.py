"""One phase in a process of its own, as ``python -m benchmarks.gpu`` starts it."""

import argparse
import importlib
import traceback
from pathlib import Path

from benchmarks.gpu.record import Record
from dmaelab.utils.distributed import pick_device


def main() -> None:
    """Run the phase. An exception ends it, and the measurements so far are kept."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("module")
    parser.add_argument("path", type=Path)
    parser.add_argument("--until", type=float, required=True)
    parser.add_argument("--device", required=True)
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--data", type=Path)
    args = parser.parse_args()
    record = Record(args.path, args.until, pick_device(args.device), args.tiny, args.data)
    try:
        importlib.import_module(args.module).run(record)
    except Exception as error:
        traceback.print_exc()
        record.write(f"failed: {type(error).__name__}: {error}")
    else:
        record.write("finished")


if __name__ == "__main__":
    main()
