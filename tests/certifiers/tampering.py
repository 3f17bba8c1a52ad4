"""Honest logs in memory, and a table of ways to change one thing in them."""

import copy
import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dmaelab.records.indices import format_indices, subset
from dmaelab.records.merge import identity_hash

SHARD = "shard-000-of-001.tsv"


@dataclass
class Copy:
    """A copy of a log: its header, its rows by cell, and what stands in place of its files."""

    header: dict[str, Any]
    columns: list[str]
    rows: list[list[str]]
    files: dict[str, bytes] = field(default_factory=dict)  # these replace or add files; see `write`
    tail: str = ""

    @classmethod
    def read(cls, folder: Path) -> "Copy":
        columns, *rows = [line.split("\t") for line in (folder / SHARD).read_text().splitlines()]
        return cls(json.loads((folder / "header.json").read_text()), columns, rows)

    @property
    def identity(self) -> dict[str, Any]:
        return self.header["identity"]

    def redo_hash(self) -> None:
        self.header["identity_hash"] = identity_hash(self.identity)

    def redo_images(self) -> None:
        indices = sorted(int(row[0]) for row in self.rows)
        self.header["indices"] = format_indices(indices)
        self.identity["subset"] = subset(indices)
        self.redo_hash()

    def shard(self) -> bytes:
        return ("".join("\t".join(cells) + "\n" for cells in (self.columns, *self.rows)) + self.tail).encode()

    def text(self) -> bytes:
        return (json.dumps(self.header, indent=2) + "\n").encode()

    def write(self, folder: Path) -> Path:
        """Write the files into an empty folder. A file of the name ``!`` is left out; None makes a folder."""
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        files = {"header.json": self.text(), SHARD: self.shard()} | self.files
        for name, content in files.items():
            if content is None:
                (folder / name).mkdir()
            elif content == b"<fifo>":
                os.mkfifo(folder / name)
            elif content != b"<none>":
                (folder / name).write_bytes(content)
        return folder

    def cell(self, row: int, name: str, value: object = None) -> str:
        """Return a cell; set it first if a value is given."""
        place = self.columns.index(name)
        if value is not None:
            self.rows[row][place] = str(value)
        return self.rows[row][place]


Change = Callable[[Copy], object]


def spellings(cell: str) -> Iterator[tuple[str, str]]:
    """Yield a name and a text for each way to write something else into a cell."""
    arabic = "".join(chr(0x660 + int(c)) if c.isdigit() else c for c in cell)
    yield from {
        "empty": "", "nan": "nan", "NaN": "NaN", "inf": "inf", "minus inf": "-inf", "minus one": "-1",
        "minus": f"-{cell}", "minus zero": "-0", "word": "abc", "1e3": "1e3", "1e999": "1e999", "plus": f"+{cell}",
        "space before": f" {cell}", "space after": f"{cell} ", "zero before": f"0{cell}", "point": f"{cell}.",
        "decimals": f"{cell}.0", "zero after": f"{cell}0" if "." in cell else f"{cell}.00", "underscore": f"{cell}_0",
        "hexadecimal": "0x1", "other digits": arabic if arabic != cell else "\u0661", "true": "true", "None": "None",
        "huge": "9" * 400, "longer than int allows": "9" * 5000, "large": "1000000", "control": f"{cell}\x01",
        "escape": "\x1b[2J", "line separator": "\u2028", "quoted": f'"{cell}"', "slash": "1/2",
        "slash of floats": "1.0/2.0", "look with a sign": "+1/2", "two slashes": "1/2/3",
    }.items()  # fmt: skip


def cell_changes(log: Copy) -> Iterator[tuple[str, Change]]:
    """Yield the changes of one cell: every spelling in one row, and a few in a row of each other kind."""
    few = ("nan", "inf", "minus one", "word", "1e3", "large", "empty")
    for place, (kind, row) in enumerate(kinds_of_rows(log).items()):
        for name in log.columns:
            old = log.cell(row, name)
            for way, text in spellings(old):
                if text != old and (place == 0 or way in few):
                    yield f"{kind}: {name}: {way}", lambda log, r=row, n=name, t=text: log.cell(r, n, t)


def kinds_of_rows(log: Copy) -> dict[str, int]:
    """Return the first row of each kind that the log has."""
    found: dict[str, int] = {}
    for row in range(len(log.rows)):
        skipped = "stop_reason" in log.columns and log.cell(row, "stop_reason") == "wrong_class"
        kind = "skipped" if skipped else "abstention" if log.cell(row, "predict") == "-1" else "answer"
        found.setdefault(kind, row)
    return found


def several(**cells: object) -> Callable[[int], Change]:
    """Return, for a row, the change of several cells; a value may be a function of the old cells by name."""

    def of(row: int) -> Change:
        def change(log: Copy) -> None:
            old = dict(zip(log.columns, log.rows[row], strict=True))
            for name, value in cells.items():
                log.cell(row, name, value(old) if callable(value) else value)

        return change

    return of


def more(name: str, by: int) -> Callable[[dict[str, str]], str]:
    """Return the function that adds to the old number in a cell."""
    return lambda old: str(int(old[name]) + by)


ROW_CHANGES = {
    "top = runner_up": several(top=lambda old: old["runner_up"]),
    "top and answer = runner_up": several(top=lambda o: o["runner_up"], predict=lambda o: o["runner_up"]),
    "runner_up = top": several(runner_up=lambda old: old["top"]),
    "runner_up behind the last": several(runner_up=4),
    "runner_up the last class": several(runner_up=lambda old: 1 if old["runner_up"] == "2" else 2),
    "label flipped": several(label=lambda old: (int(old["label"]) + 1) % 3),
    "label and correct": several(label=lambda o: o["predict"], correct=1),
    "label outside": several(label=3, correct=0),
    "correct flipped": several(correct=lambda old: 1 - int(old["correct"])),
    "another class": several(predict=2, top=2),
    "class outside": several(predict=3, top=3),
    "abstains": several(predict=-1, correct=0),
    "abstains without radius": several(predict=-1, correct=0, radius="0.000000"),
    "abstains without any radius": several(predict=-1, correct=0, radius="0.000000", radius_full="0.0"),
    "answers": several(predict=lambda o: o["top"], correct=lambda o: int(o["top"] == o["label"])),
    "radius raised": several(radius="0.900000"),
    "radius lowered": several(radius="0.000001"),
    "both radii raised": several(radius="0.900000", radius_full="0.9"),
    "both radii lowered": several(radius="0.001000", radius_full="0.001"),
    "two-sided raised": several(radius_two_sided="0.9"),
    "two-sided zero": several(radius_two_sided="0.0"),
    "two-sided lowered": several(radius_two_sided="0.0001"),
    "two-sided missing": several(radius_two_sided="nan"),
    "p_lower raised": several(p_lower="0.9999"),
    "p_lower lowered": several(p_lower="0.51"),
    "p_lower zero": several(p_lower="0.0"),
    "p_lower above 1": several(p_lower="1.5"),
    "p_upper lowered": several(p_upper="0.0001"),
    "p_upper raised": several(p_upper="0.99"),
    "bounds missing": several(p_lower="nan", p_upper="nan"),
    "all claims missing": several(p_lower="nan", p_upper="nan", radius_full="nan", radius_two_sided="nan"),
    "count_a more": several(count_a=more("count_a", 1)),
    "count_a less": several(count_a=more("count_a", -1)),
    "count_a all": several(count_a=lambda o: o["n"], count_b=0),
    "count_b more": several(count_b=more("count_b", 1)),
    "count_b less": several(count_b=more("count_b", -1)),
    "count_b zero": several(count_b=0),
    "count_b and look": several(count_b=0, look_b=lambda o: f"0/{o['n']}"),
    "counts swapped": several(count_a=lambda o: o["count_b"], count_b=lambda o: o["count_a"]),
    "counts negative": several(count_a=-5, count_b=-5),
    "n more": several(n=more("n", 1)),
    "n and samples more": several(n=more("n", 1), samples=more("samples", 1)),
    "n and samples less": several(n=more("n", -1), samples=more("samples", -1)),
    "n0 more": several(n0=more("n0", 1)),
    "n0 and samples more": several(n0=more("n0", 1), samples=more("samples", 1)),
    "samples more": several(samples=more("samples", 1)),
    "look_a of half": several(look_a=lambda o: "{}/{}".format(*(int(x) // 2 for x in o["look_a"].split("/")))),
    "look_a of one": several(look_a="1/1"),
    "look_a beyond": several(look_a="300/301"),
    "look_a not reduced": several(look_a=lambda old: old["look_a"].replace("/", "/0")),
    "look_b of half": several(look_b=lambda o: "{}/{}".format(*(int(x) // 2 for x in o["look_b"].split("/")))),
    "look_b of p_lower": several(look_b=lambda old: old["look_a"]),
    "stopped for no reason": several(stop_reason="because"),
    "stopped at n": several(stop_reason="n"),
    "stopped as certified": several(stop_reason="certified"),
    "stopped as decided": several(stop_reason="decided"),
    "stopped as futile": several(stop_reason="futile"),
    "skipped": several(stop_reason="wrong_class"),
    "stopped in capitals": several(stop_reason=lambda o: o["stop_reason"].upper()),
    "time of another run": several(time="99.000000"),
    "time in another form": several(time="0:00:01"),
    "p_value smaller": several(p_value="1e-300"),
    "p_value larger": several(p_value="0.0009"),
    "p_value zero": several(p_value="0.0"),
    "p_value above 1": several(p_value="1.5"),
}  # fmt: skip


def row_changes(log: Copy) -> Iterator[tuple[str, Change]]:
    """Yield the changes of several cells in one row, as far as the log has their columns and they are changes."""
    for kind, row in kinds_of_rows(log).items():
        for name, of in ROW_CHANGES.items():
            try:
                of(row)(changed := copy.deepcopy(log))
            except (ValueError, LookupError):  # a column that this log does not have, or nan
                continue
            if changed.rows != log.rows:
                yield f"{kind}: {name}", of(row)
