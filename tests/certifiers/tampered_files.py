"""Changes of the header, the files, the lines and the columns of a log; see :mod:`tampering`."""

import json
from collections.abc import Iterator
from typing import Any

from tampering import SHARD, Change, Copy

from dmaelab.records.indices import subset

WRONG_VALUES = {
    "null": None, "text": "x", "empty": "", "zero": 0, "minus": -1, "one and a half": 1.5, "true": True, "list": [],
    "mapping": {}, "text in a list": ["x"], "huge": 10**400, "large": 1e308, "small": 1e-300, "number": 7,
    "surrogate": "\ud800",
    "escape": "\x1b[2J\n", "deep": json.loads("[" * 200 + "]" * 200),
}  # fmt: skip


def header_changes(log: Copy) -> Iterator[tuple[str, Change]]:
    """Yield the changes of one value in the header, each with and without the hash of the identity done again."""

    def put(place: tuple[str, ...], value: object, redo: bool) -> Change:
        def change(log: Copy) -> None:
            inside = log.header
            for key in place[:-1]:
                inside = inside[key]
            if value is REMOVED:
                del inside[place[-1]]
            else:
                inside[place[-1]] = value
            if redo:
                log.redo_hash()

        return change

    places = [("identity", key) for key in log.identity]
    places += [("identity", "certifier", key) for key in log.identity["certifier"]]
    places += [("identity", "corruption", "name"), ("identity", "subset", "count"), ("identity", "subset", "hash")]
    for place in places:
        old = log.identity[place[1]] if len(place) == 2 else log.identity[place[1]][place[2]]
        name = ".".join(place[1:])
        same = {"as a number": float(old) if type(old) is int else int(old) if type(old) is bool else "?"}
        for way, value in (WRONG_VALUES | same | OTHER_VALUES.get(name, {}) | {"removed": REMOVED}).items():
            if value == old and type(value) is type(old):
                continue
            for redo in (False, True) if way in ("null", "removed") else (True,):
                yield f"header: {name}: {way}{', hash redone' * redo}", put(place, value, redo)
    for key in ("identity", "identity_hash", "columns", "indices", "context"):
        for way, value in (WRONG_VALUES | {"removed": REMOVED}).items():
            yield f"header: {key}: {way}", put((key,), value, False)


REMOVED = object()
OTHER_VALUES: dict[str, dict[str, Any]] = {
    "sigma": {"larger": 0.5, "smaller": 0.125},
    "alpha": {"larger": 0.01, "smaller": 0.0001, "one": 1.0},
    "n": {"more": 10_000, "less": 150},
    "n0": {"more": 100},
    "tau": {"larger": 0.001, "minus": -1e-6},
    "classes": {"more": 4, "fewer": 2, "one": 1},
    "norm": {"linf": "linf", "l1": "l1", "l2": "l2", "l7": "l7"},
    "geometry": {"laplace": "dmaelab.stats.geometry.LaplaceL1", "uniform": "dmaelab.stats.geometry.UniformL1",
                 "gaussian": "dmaelab.stats.geometry.GaussianL2", "base": "dmaelab.stats.geometry.Geometry"},
    "fp_sound": {"claimed": True, "not claimed": False},
    "shape": {"other": [1, 8, 8], "flat": [16], "zero": [1, 0, 4], "minus": [1, -4, -4], "floats": [1.0, 4.0, 4.0],
              "bools": [True, 4, 4], "four": [1, 1, 4, 4]},
    "batch_shape": {"other batch": [512, 1, 4, 4], "zero": [0, 1, 4, 4], "other image": [256, 1, 8, 8]},
    "seed": {"other": 1},
    "weights": {"other": "0" * 32, "short": "0" * 31, "capitals": "A" * 32},
    "first_image": {"other": "0" * 16},
    "precision": {"bf16": "bf16"},
    "noise": {"other": "2-cuda"},
    "corruption.name": {"uniform": "uniform", "gaussian": "gaussian"},
    "certifier.name": {"cohen": "cohen", "predict": "predict", "sequential": "sequential"},
    "certifier.weight": {"other": 0.5},
    "certifier.share": {"other": 0.2},
    "certifier.growth": {"other": 1.5, "near one": 1.0000000001},
    "certifier.futility": {"other": 0.1},
    "certifier.radii": {"other": [0.05]},
    "certifier.mode": {"radius": "radius", "grid": "grid"},
    "certifier.skip_wrong": {"other": True},
    "subset.count": {"more": 13, "very many": 10**12},
    "compile": {"blocks": "blocks"},
}  # fmt: skip


def file_changes(log: Copy) -> Iterator[tuple[str, Change]]:
    """Yield the changes of files, lines, columns and the list of images."""
    for name, files in changed_files(log).items():
        yield name, lambda log, files=files: log.files.update(files)
    yield from LINES.items()


def changed_files(log: Copy) -> dict[str, dict[str, bytes | None]]:
    """Return for each change the files that it replaces or adds."""
    header, shard, half, gone = log.text(), log.shard(), len(log.rows) // 2, b"<none>"
    first, *rows = shard.splitlines(keepends=True)
    rest, other = b"".join(rows), rows[0].replace(b"\t0", b"\t1", 1)
    upper, lower = first + b"".join(rows[: half + 1]), first + b"".join(rows[half + 1 :])

    def inside(section: str, entry: bytes) -> bytes:
        mark = f'"{section}": {{'.encode()
        return header.replace(mark, mark + entry + b",", 1)

    def nested(levels: int) -> bytes:
        return b'"x": ' + b"[" * levels + b"]" * levels

    shards: dict[str, bytes | None] = {
        "missing": gone, "empty": b"", "a folder": None, "a pipe": b"<fifo>", "of zeros": bytes(100),
        "not text": b"\xff\xfe" + shard, "with BOM": b"\xef\xbb\xbf" + shard,
        "with CRLF": shard.replace(b"\n", b"\r\n"), "with one CR": shard.replace(b"\n", b"\r\n", 1),
        "with NUL": shard.replace(b"\t", b"\t\0", 1), "in UTF-16": shard.decode().encode("utf-16"),
        "without columns": rest, "with columns twice": first + shard, "with text after the last line": shard + b"0\t1",
        "with a last line of text": shard + b"total: all correct\n", "without the last line break": shard[:-1],
        "with a blank line": shard + b"\n",
    }  # fmt: skip
    headers: dict[str, bytes | None] = {
        "missing": gone, "empty": b"", "a folder": None, "a pipe": b"<fifo>", "cut": header[:-20],
        "with BOM": b"\xef\xbb\xbf" + header, "with CRLF": header.replace(b"\n", b"\r\n"), "with NUL": header + b"\0",
        "in UTF-16": header.decode().encode("utf-16"), "not text": b"\xff" + header, "of a list": b"[]",
        "of text": b'"x"', "deep": b"[" * 100_000, "deep inside": inside("context", nested(400)),
        "very deep inside": inside("identity", nested(980)), "with two sigmas": inside("identity", b'"sigma": 9.0'),
        "with two columns": header.replace(b'"columns":', b'"columns": [], "columns":', 1),
        "with NaN": inside("context", b'"x": NaN'), "with 1e999": inside("context", b'"x": 1e999'),
        "with Infinity": header.replace(b'"sigma": 0.25', b'"sigma": Infinity', 1),
        "with a long number": inside("context", b'"x": ' + b"9" * 5000),
    }  # fmt: skip
    names = {
        "0 of 2": "000-of-002", "1 of 1": "001-of-001", "5 of 3": "005-of-003", "0 of 0": "000-of-000",
        "short numbers": "0-of-1", "long numbers": "0000-of-0001", "a word": "all",
        "other digits": "\u0660\u0660\u0660-of-\u0660\u0660\u0661", "a line break": "000\n-of-001",
    }  # fmt: skip
    second: dict[str, tuple[str, bytes | None]] = {
        "odd name": ("extra", first), "folder": ("001-of-002", None), "pipe": ("001-of-002", b"<fifo>"),
        "all rows": ("000-of-002", shard), "one equal row": ("000-of-002", first + rows[0]),
        "other row": ("000-of-002", first + other), "empty": ("000-of-002", b""), "columns only": ("000-of-002", first),
    }  # fmt: skip
    one_row = first + rows[0]
    return {
        **{f"shard {name}": {SHARD: content} for name, content in shards.items()},
        **{f"header {name}": {"header.json": content} for name, content in headers.items()},
        **{f"shard renamed to {way}": {SHARD: gone, f"shard-{name}.tsv": shard} for way, name in names.items()},
        **{f"a second shard, {way}": {f"shard-{name}.tsv": text} for way, (name, text) in second.items()},
        "two shards": {
            SHARD: gone,
            "shard-000-of-002.tsv": first + b"".join(rows[:half]),
            "shard-001-of-002.tsv": first + b"".join(rows[half:]),
        },
        "two shards, uneven": {SHARD: gone, "shard-000-of-002.tsv": upper, "shard-001-of-002.tsv": lower},
        "two shards, overlapping": {"shard-000-of-003.tsv": one_row, "shard-001-of-003.tsv": one_row},
        "another file": {"attack.json": b"{}"},
    }


def all_of(*changes: Change) -> Change:
    """Return the change that makes several."""

    def change(log: Copy) -> None:
        for one in changes:
            one(log)

    return change


def listed(indices: str) -> Change:
    """Return the change of the list of images in the header."""
    return lambda log: log.header.update(indices=indices)


LINES: dict[str, Change] = {
    "row missing": lambda log: log.rows.pop(3),
    "row twice": lambda log: log.rows.append(log.rows[0]),
    "row twice, idx spelled otherwise": lambda log: log.rows.append(["0" + log.rows[0][0], *log.rows[0][1:]]),
    "row of a foreign image": lambda log: log.rows.append(["99", *log.rows[0][1:]]),
    "row with one more cell": lambda log: log.rows[0].append("0"),
    "row with one cell less": lambda log: log.rows[0].pop(),
    "rows in another order": lambda log: log.rows.reverse(),
    "rows of two images swapped": lambda log: swap_statistics(log, 0, 3),
    "image omitted": all_of(lambda log: log.rows.pop(3), Copy.redo_images),
    "image renamed": all_of(lambda log: log.rows[3].__setitem__(0, "77"), Copy.redo_images),
    "images listed one by one": listed(",".join(map(str, range(12)))),
    "images listed backwards": listed("11:-1:-1"),
    "images listed with a sign": listed("+0:12"),
    "images listed in other digits": listed("\u0660:12"),
    "images listed twice": all_of(
        listed("0:12,0"), lambda log: log.identity.update(subset=subset([*range(12), 0])), Copy.redo_hash
    ),
    "images beyond memory": listed("0:1000000000000000"),
    "images beyond numbers": listed("0:" + "9" * 5000),
    "a column twice": lambda log: add_column(log, "radius", "9.000000"),
    "a column more": lambda log: add_column(log, "note", "best"),
    "a column renamed": lambda log: rename_column(log, log.columns[-1], "other"),
    "a column that is no text": lambda log: log.header["columns"].__setitem__(7, 5),
    "a column that is a list": lambda log: log.header["columns"].__setitem__(7, []),
    "columns swapped": lambda log: swap_columns(log, 7, 8),
    "columns swapped in the shard": lambda log: swap_columns(log, 7, 8, header=False),
    "last column missing": lambda log: drop_column(log),
    "header with another context": lambda log: log.header["context"].update(host="elsewhere", command=["certify.py"]),
    "header with a note": lambda log: log.header.update(note="certified by a friend"),
    "header with a note in the identity": all_of(lambda log: log.identity.update(note="x"), Copy.redo_hash),
}


def swap_statistics(log: Copy, one: int, two: int) -> None:
    """Swap all that was counted for two images; their labels stay, and correct follows."""
    kept = [log.columns.index(name) for name in ("idx", "label", "correct")]
    first, second = (list(log.rows[row]) for row in (one, two))
    for place in range(len(log.columns)):
        if place not in kept:
            log.rows[one][place], log.rows[two][place] = second[place], first[place]
    for row in (one, two):
        log.cell(row, "correct", int(log.cell(row, "predict") == log.cell(row, "label")))


def add_column(log: Copy, name: str, cell: str) -> None:
    for cells, new in ((log.columns, name), (log.header["columns"], name), *((row, cell) for row in log.rows)):
        cells.append(new)


def rename_column(log: Copy, old: str, new: str) -> None:
    for names in (log.columns, log.header["columns"]):
        names[names.index(old)] = new


def swap_columns(log: Copy, one: int, two: int, header: bool = True) -> None:
    for cells in (log.columns, *log.rows, *([log.header["columns"]] * header)):
        cells[one], cells[two] = cells[two], cells[one]


def drop_column(log: Copy) -> None:
    for cells in (log.columns, *log.rows, log.header["columns"]):
        cells.pop()
