"""A module or config that calls ``sys.exit`` while it is imported is an error, and never a quiet success."""

import pytest

from dmaelab.config import LazyConfig, load_plugins, trust_plugins
from dmaelab.config.imports import find
from dmaelab.utils.cli import run_main
from dmaelab.utils.errors import ConfigError

CALLS = {
    "plugins of a config": lambda: load_plugins({"plugins": ["leaves"]}),
    "--plugin": lambda: trust_plugins(["leaves"]),
    "a target": lambda: find("leaves.Thing"),
    "a config file": lambda: LazyConfig.load("leaves.py"),
}


@pytest.mark.parametrize("code", ["sys.exit()", "sys.exit(0)", "sys.exit('done')", "raise SystemExit"])
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_module_that_exits_is_named(tmp_path, monkeypatch, capsys, call, code):
    (tmp_path / "leaves.py").write_text(f"import sys\n{code}\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="leaves"):
        call()
    with pytest.raises(SystemExit) as end:
        run_main(call)
    assert end.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_the_environment_names_one(tmp_path, monkeypatch):
    (tmp_path / "leaves.py").write_text("raise SystemExit")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DMAELAB_PLUGINS", "leaves")
    with pytest.raises(ConfigError, match="leaves"):
        trust_plugins()
