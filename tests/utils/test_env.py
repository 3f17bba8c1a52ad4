import json
import shutil
import subprocess
import sys

import pytest
import torch

from dmaelab.utils import env
from dmaelab.utils.env import environment


@pytest.fixture
def without_git(monkeypatch):
    monkeypatch.setattr(env, "_git", lambda: "abc")


def test_surroundings_are_plain_values(without_git, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/some/where/tools/train_net.py", "--resume", "train.seed=1"])
    found = environment()
    assert found["command"] == ["train_net.py", "--resume", "train.seed=1"]  # the place on disk is nobody's business
    assert json.loads(json.dumps(found)) == found
    assert found["python"] == ".".join(map(str, sys.version_info[:3]))
    assert found["versions"]["torch"].split("+")[0] == torch.__version__.split("+")[0]
    assert found["host"]
    assert found["cpu"]


def test_a_package_that_is_not_installed_has_no_version(without_git, monkeypatch):
    monkeypatch.setattr(env, "_PACKAGES", ("torch", "no-such-package-anywhere"))
    versions = environment()["versions"]
    assert versions.pop("no-such-package-anywhere") is None
    assert list(versions) == ["torch"]


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A repository of one commit, in which the package seems to lie; a function calls git in it."""

    if shutil.which("git") is None:
        pytest.skip("there is no git")

    def git(*arguments):
        who = ["-c", "user.name=a", "-c", "user.email=a@b"]
        return subprocess.run(["git", "-C", tmp_path, *who, *arguments], check=True, capture_output=True, text=True)

    git("init", "-q")
    (tmp_path / "env.py").write_text("one\n")
    git("add", ".")
    git("commit", "-q", "-m", "first")
    monkeypatch.setattr(env, "__file__", str(tmp_path / "env.py"))
    return tmp_path, git


def test_the_state_of_the_code_is_its_commit_and_whether_files_differ(repository):
    folder, git = repository
    commit = git("rev-parse", "HEAD").stdout[:12]
    assert env._git() == commit
    (folder / "env.py").write_text("two\n")
    assert env._git() == f"{commit}-dirty"


@pytest.mark.parametrize("error", [FileNotFoundError(), subprocess.TimeoutExpired("git", 10)])
def test_without_git_the_code_has_no_state(monkeypatch, error):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(env.subprocess, "run", fail)
    assert env._git() is None


def test_outside_a_repository_the_code_has_no_state(monkeypatch, tmp_path):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    monkeypatch.setattr(env, "__file__", str(tmp_path / "env.py"))
    assert env._git() is None
