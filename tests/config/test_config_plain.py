from dataclasses import dataclass

import pytest
import torch
from omegaconf import OmegaConf

from dmaelab.config.plain import diff, interpolated, nodes, plain, to_config
from dmaelab.utils.errors import ConfigError


def test_a_plain_tree_is_a_copy_with_interpolations_as_text():
    tree = {"a": [1, (2, 3)], "b": {"c": "${a}", "d": None}}
    copy = plain(to_config(tree))
    assert copy == plain(tree) == {"a": [1, [2, 3]], "b": {"c": "${a}", "d": None}}
    copy["a"].append(4)
    assert tree["a"] == [1, (2, 3)]


@dataclass
class Record:
    x: int = 1


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ({"a": {1: 2}}, "a.1: keys are text, write '1'"),
        ({"a": [Record()]}, "a.0 is a Record object: did you forget L? Write L(Record)(...)"),
        ({"a": torch.float16}, "a is a torch dtype: write the text 'float16'"),
        ({"a": {1, 2}}, "a is a set: a config holds text, numbers, bool, None, lists and dicts only"),
        ({"a": len}, "a is the function len: write L(len)(...) to call it, or its dotted name as text to name it"),
        ({"a": OmegaConf.structured(Record)}, "a is a Record object: did you forget L? Write L(Record)(...)"),
    ],
)
def test_what_is_not_plain_is_named_by_its_key(tree, message):
    with pytest.raises(ConfigError) as error:
        plain(tree)
    assert str(error.value) == message


def test_interpolations_are_replaced_also_from_inside_a_node():
    cfg = to_config({"size": 3, "model": {"width": "${size}", "shape": ["${size}", "${.0}"]}})
    assert interpolated(cfg.model) == {"width": 3, "shape": [3, 3]}
    assert interpolated((1, 2)) == [1, 2]
    assert interpolated(None) is None
    with pytest.raises(ConfigError, match=r"^model.width: \$\{sise\} refers to no key \(did you mean 'size'\?\)$"):
        interpolated(to_config({"size": 3, "model": {"width": "${sise}"}}))


def test_nodes_are_listed_parents_first_with_their_key_paths():
    assert list(nodes({"a": [1, {"b": 2}]}, "top")) == [
        ("top.a", [1, {"b": 2}]),
        ("top.a.0", 1),
        ("top.a.1", {"b": 2}),
        ("top.a.1.b", 2),
    ]


def test_a_difference_compares_interpolations_as_text():
    assert diff({"a": 1, "b": "${a}"}, to_config({"a": 1, "b": "${a}"})) == []
    assert [change.key for change in diff({"a": 1, "b": "${a}"}, {"a": 1, "b": 1})] == ["b"]
