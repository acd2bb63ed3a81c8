"""Reasons in words: of a long parameter only what differs, and number where a name is a plural."""

from __future__ import annotations

import pytest

from onnxbuild.base.codec import encode
from onnxbuild.engine.changes import manifest_changes
from onnxbuild.store.traces import Component


def text(label: str, old: object, new: object) -> str:
    lines = [(Component(label, encode(value).decode()),) for value in (old, new)]
    (change,) = manifest_changes(*lines)
    return change.text


@pytest.mark.parametrize(("is_new", "told"), [(True, "now depends"), (False, "no longer depends")])
def test_what_becomes_portable_or_ceases_to_be_tells_of_no_other_cpu(is_new: bool, told: str) -> None:
    lines: list[tuple[Component, ...]] = [(), (Component("hardware", "Fast 1; avx"),)]
    (change,) = manifest_changes(*(lines if is_new else lines[::-1]))
    assert change.text == f"what it delivers {told} on the CPU"


AGE = {"name": "age", "dtype": "float32", "shape": ["rows"]}
CITY = {"name": "city", "dtype": "string", "shape": ["rows", 1]}


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (
            [AGE, CITY],
            [{**AGE, "shape": ["rows", 1]}, CITY],
            'parameter inputs: age.shape changed from ["rows"] to ["rows",1]',
        ),
        ([AGE], [CITY], "parameter inputs: age is gone, city is new"),
        ([AGE, CITY], [CITY, AGE], "parameter inputs: another order"),
        ([1, 2], [1, 3], "parameter inputs changed from [1,2] to [1,3]"),
        ([{"x": 1}], [{"x": 2}], 'parameter inputs changed from [{"x":1}] to [{"x":2}]'),
        ('[{"', "a", 'parameter inputs changed from "[{\\"" to "a"'),
    ],
)
def test_a_list_of_named_things_tells_what_differs(old: object, new: object, told: str) -> None:
    assert text("parameter inputs", old, new) == told


@pytest.mark.parametrize(("name", "told"), [("calls", "other calls"), ("edges_reference", "another edges reference")])
def test_what_an_action_delivered_is_in_its_number(name: str, told: str) -> None:
    (change,) = manifest_changes(
        [Component(f"input {name}", "a", note="mlp/data")], [Component(f"input {name}", "b", note="mlp/data")]
    )
    assert change.text == f"mlp/data delivered {told}"
