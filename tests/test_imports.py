"""The arrows of the package: who may import whom, and what an import may load."""

import ast
import importlib
import inspect
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import dmaelab

ROOT = Path(dmaelab.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))
LOW = {"rules", "utils", "registry", "config", "stats", "records"}

# Room -> the rooms that it may import, itself apart. A new room must be put here.
KNOWS: dict[str, set[str]] = {
    "rules": set(),
    "utils": {"rules"},
    "registry": {"utils"},
    "config": {"utils", "registry"},
    "stats": {"utils", "registry", "config"},
    "records": {"utils", "registry", "config", "stats"},
    "interfaces": {"utils"},
    "certifiers": {"utils", "registry", "stats", "records"},
    "corruptions": LOW,
    "data": {*LOW, "interfaces"},
    "solver": {*LOW, "interfaces"},
    "attacks": {"utils"},
    "losses": {*LOW, "corruptions", "attacks"},
    "modeling": {*LOW, "interfaces", "corruptions", "losses"},
    "weights": {*LOW, "interfaces", "losses", "modeling"},
    "smoothing": {"rules", "utils", "registry", "stats", "records", "corruptions", "certifiers", "attacks"},
    "analysis": {"utils", "config", "stats", "records"},
}
KNOWS["engine"] = set(KNOWS)
KNOWS["pictures"] = {"utils", "data", "modeling", "engine"}
KNOWS["launch"] = {"utils", "config", "records", "smoothing", "analysis", "engine", "pictures"}
KNOWS["testing"] = set(KNOWS) - {"analysis", "engine", "launch", "pictures"}  # for tests of plug-ins; no room knows it
WITHOUT_TORCH = ("config", "registry", "stats", "records", "certifiers", "analysis")


def room_of(path: Path) -> str:
    """Return the first folder below the package, or the name of a file that lies in it."""
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imported_rooms(source: str) -> set[str]:
    """Return the rooms that a module imports at any place, functions and type checking included."""
    rooms = set()
    for node in ast.walk(ast.parse(source)):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: relative imports hide the room that they name"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        parts = [name.split(".") for name in names]
        rooms |= {part[1] if len(part) > 1 else "dmaelab" for part in parts if part[0] == "dmaelab"}
    return rooms


def modules_of(room: str) -> list[str]:
    """Return the names of a room's modules, the room itself first."""
    folder = ROOT / room
    inner = pkgutil.walk_packages([str(folder)], f"dmaelab.{room}.") if folder.is_dir() else []
    return [f"dmaelab.{room}", *(module.name for module in inner)]


def loaded_by(*modules: str) -> set[str]:
    """Return the top-level packages that a fresh interpreter has loaded after importing ``modules``."""
    code = f"import importlib, sys\nfor name in {modules!r}: importlib.import_module(name)\n"
    code += "print(*{name.split('.')[0] for name in sys.modules})"
    result = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, cwd=ROOT.parent, check=False
    )
    assert result.returncode == 0, result.stderr
    return set(result.stdout.split())


def test_reader_of_imports():
    source = (
        "import torch, dmaelab\nfrom dmaelab.stats import bounds\ndef f():\n from dmaelab import engine\n import"
        " dmaelab.data.batch"
    )
    assert imported_rooms(source) == {"stats", "engine", "data", "dmaelab"}
    with pytest.raises(AssertionError, match="relative"):
        imported_rooms("from . import x")


@pytest.mark.parametrize(
    "path", [p for p in FILES if p.parent != ROOT or p.stem in KNOWS], ids=lambda p: str(p.relative_to(ROOT))
)
def test_a_room_imports_only_rooms_above_it(path):
    room = room_of(path)
    assert imported_rooms(path.read_text()) <= KNOWS[room] | {room}


def test_every_room_exists():
    assert {room_of(path) for path in FILES} - {"__init__", "__main__"} == set(KNOWS)


@pytest.mark.parametrize("folder", ["dmaelab", "tools"])
def test_nothing_imports_projects(folder):
    for path in (ROOT.parent / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = (
                [alias.name for alias in node.names]
                if isinstance(node, ast.Import)
                else [getattr(node, "module", None) or ""]
            )
            assert not [name for name in names if name.split(".")[0] == "projects"], path


def test_no_config_below_the_engine():
    for path in FILES:
        if room_of(path) in {"config", "engine", "launch", "__init__", "__main__"}:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.arg):
                assert node.arg not in {"cfg", "config"}, f"{path}:{node.lineno} takes a config"


def test_rooms_that_load_no_torch():
    modules = [module for room in WITHOUT_TORCH for module in modules_of(room)]
    assert len(modules) > 10
    assert not {"torch", "torchvision", "matplotlib"} & loaded_by("dmaelab", *modules)


def test_the_engine_and_the_plug_ins_load_no_torchvision():
    loaded = loaded_by("dmaelab.engine", "dmaelab.data", "dmaelab.launch")
    assert "torch" in loaded
    assert not {"torchvision", "sklearn", "matplotlib"} & loaded


def test_names_of_the_package():
    for name in dmaelab.__all__:
        assert getattr(dmaelab, name) is not None
        assert name in dir(dmaelab)
    with pytest.raises(AttributeError, match="no attribute 'BACKBONE'"):
        _ = dmaelab.BACKBONE


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_files_are_short_and_explain_themselves(path):
    source = path.read_text()
    assert len(source.splitlines()) <= 350
    tree = ast.parse(source)
    assert ast.get_docstring(tree), "the module has no docstring"
    for node in tree.body:
        if isinstance(node, (ast.ClassDef, ast.FunctionDef)) and not node.name.startswith("_"):
            assert ast.get_docstring(node), f"{node.name} has no docstring"


@pytest.mark.parametrize(
    "package", sorted({path.parent.relative_to(ROOT.parent) for path in FILES if path.stem == "__init__"}), ids=str
)
def test_exported_classes_explain_their_methods(package):
    module = importlib.import_module(".".join(package.parts))
    for name in getattr(module, "__all__", []):
        entry = getattr(module, name)
        if inspect.isclass(entry) and entry.__module__.startswith("dmaelab"):
            public = {key: value for key, value in vars(entry).items() if not key.startswith("_")}
            methods = {
                key: value for key, value in public.items() if inspect.isfunction(value) or isinstance(value, property)
            }
            assert not [key for key, method in methods.items() if not method.__doc__], name
