from pathlib import Path

import pytest

from dmaelab.rules.precision import precision_rule


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ("fpu avx2 fma", "fp32"),
        ("fpu avx512f avx512_bf16", "bf16"),
        ("amx_bf16 amx_tile", "bf16"),
        ("asimd bf16 i8mm", "bf16"),
    ],
)
def test_a_processor_gets_what_it_has_instructions_for(monkeypatch, flags, expected):
    monkeypatch.setattr(Path, "read_text", lambda path: f"processor : 0\nflags : {flags}\n")
    precision_rule.cache_clear()
    try:
        assert precision_rule("cpu") == expected
    finally:
        precision_rule.cache_clear()


def test_where_it_cannot_be_told_it_is_fp32(monkeypatch):
    def missing(path):
        raise OSError

    monkeypatch.setattr(Path, "read_text", missing)
    precision_rule.cache_clear()
    try:
        assert precision_rule("cpu") == "fp32"
    finally:
        precision_rule.cache_clear()
