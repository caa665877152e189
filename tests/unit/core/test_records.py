"""One line of a class is one key of the file: its rule, its default, and both directions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import FrozenInstanceError, asdict

import pytest

from core.formats import NAME
from core.records import Recorded, derived, entries, inline, items, key, part, parts, section, sequence, state, value
from core.rule import Broken, Record, list_of, whole
from core.status import VMStatus


@value
class Point(Recorded):
    x: int = key(whole(0, 9))
    y: int = key(whole(0, 9), default=0)


class Shape(Recorded):
    name: str = key(NAME)
    status: VMStatus = state(VMStatus, default=VMStatus.PENDING)
    center: Point | None = part(Point)
    corners: list[Point] = parts(Point, default=[])
    sides: int = derived(whole(0, 9), lambda shape: len(shape.corners))
    tags: list[str] = items(NAME, brief=True)
    color: str | None = key(NAME, default=None, brief=True)

    def __init__(self, name: str, center: Point | Record | None = None) -> None:
        self.name = name
        self.center = Point.of(center)
        self.corners = []
        self.tags = []


@value
class Margins(Recorded):
    top: int = key(whole(0, 9), default=1, brief=True)
    side: int = key(whole(0, 9), default=2, brief=True)


@value
class Paper(Recorded):
    names: tuple[str, ...] = sequence(list_of(NAME), default=("a4",))
    colors: Mapping[str, str] = entries(NAME, NAME)
    margins: Margins = section(Margins, brief=True)
    marks: tuple[str, ...] = sequence(list_of(NAME), default=(), brief=True)


@value
class Box(Recorded):
    paper: Paper = section(Paper)


PLAIN: Record = {"name": "a", "status": "pending", "center": None, "corners": [], "sides": 0}
FULL: Record = {
    "name": "a",
    "status": "running",
    "center": {"x": 1, "y": 0},
    "corners": [{"x": 1, "y": 2}],
    "sides": 1,
    "tags": ["t"],
    "color": "red",
}


def test_brief_keys_are_left_out_while_they_have_their_default() -> None:
    assert list(Shape("a").to_dict().items()) == list(PLAIN.items())


def test_a_record_is_written_in_the_order_of_the_class_wherever_its_keys_stood() -> None:
    turned = dict(reversed(FULL.items()))
    assert list(Shape.from_dict(turned).to_dict().items()) == list(FULL.items())


def test_values_are_of_their_types_and_plain_in_the_file() -> None:
    shape = Shape.from_dict(FULL)
    assert (shape.status, shape.center, shape.corners) == (VMStatus.RUNNING, Point(1), [Point(1, 2)])
    assert type(shape.to_dict()["status"]) is str


def test_a_missing_key_has_its_default_and_lists_are_not_shared() -> None:
    first, second = Shape.from_dict({"name": "a"}), Shape.from_dict({"name": "a"})
    assert first.to_dict() == PLAIN
    first.tags.append("t")
    first.corners.append(Point(1))
    assert second.to_dict() == Shape("a").to_dict() == PLAIN


def test_an_object_shares_nothing_with_the_record_that_it_was_read_from() -> None:
    record = FULL | {"tags": ["t"]}
    shape = Shape.from_dict(record)
    shape.tags.append("u")
    shape.to_dict()["tags"].append("v")
    assert (record["tags"], shape.tags) == (["t"], ["t", "u"])


@pytest.mark.parametrize(("kind", "record"), [(Shape, {"color": "red"}), (Point, {"y": 1})])
def test_a_record_without_a_required_key_is_an_error(kind: type[Recorded], record: Record) -> None:
    with pytest.raises(KeyError):
        kind.from_dict(record)


def test_a_derived_key_is_written_and_not_read() -> None:
    assert Shape.from_dict(PLAIN | {"sides": 7}).to_dict()["sides"] == 0


def test_the_constructor_accepts_a_documented_mapping() -> None:
    assert Shape("a", {"x": 1}).center == Shape("a", Point(1)).center == Point(1, 0)


def test_a_value_never_changes() -> None:
    with pytest.raises(FrozenInstanceError):
        Point(1).x = 2  # type: ignore[misc]


@pytest.mark.parametrize(
    ("record", "sentence"),
    [
        ({}, "the key name is missing"),
        (
            PLAIN | {"colour": "red"},
            'unknown key "colour"; known here: name, status, center, corners, sides, tags, color',
        ),
        (PLAIN | {"status": "runing"}, 'status: must be one of pending, design, running, stopped, not "runing"'),
        (PLAIN | {"corners": [{"x": 10}]}, "corners.0.x: must be a whole number from 0 to 9, not 10"),
        (PLAIN | {"center": {}}, "center: the key x is missing"),
    ],
)
def test_the_rule_of_the_file_follows_from_the_class(record: Record, sentence: str) -> None:
    with pytest.raises(Broken) as fault:
        Shape.rule()(record)
    assert str(fault.value) == sentence


def test_settings_that_the_file_lacks_have_their_defaults() -> None:
    assert Box.from_dict({}) == Box.from_dict({"paper": {}}) == Box(Paper()) == Box()
    assert asdict(Box()) == {
        "paper": {"names": ("a4",), "colors": {}, "margins": {"top": 1, "side": 2}, "marks": ()},
    }
    assert Box().to_dict() == {"paper": {"names": ["a4"], "colors": {}}}


def test_settings_are_written_as_they_were_read() -> None:
    record = {"paper": {"names": [], "colors": {"red": "x"}, "margins": {"side": 3}, "marks": ["m"]}}
    box = Box.from_dict(record)
    assert box == Box(Paper((), {"red": "x"}, Margins(side=3), ("m",)))
    assert box.to_dict() == record
    Box.rule()(record)


def test_settings_share_no_mapping() -> None:
    record = {"colors": {"red": "x"}}
    first, second = Paper.from_dict(record), Paper.from_dict({})
    record["colors"]["red"] = "y"
    first.to_dict()["colors"]["red"] = second.to_dict()["colors"]["red"] = "z"
    assert (first.colors, second.colors) == ({"red": "x"}, {})
    assert len({id(each.colors) for each in (second, Paper.from_dict({}), Paper(), Paper())}) == 4


def test_a_refused_setting_is_named_with_its_section() -> None:
    with pytest.raises(Broken) as fault:
        Box.rule()({"paper": {"margins": {"top": 10}}})
    assert str(fault.value) == "paper.margins.top: must be a whole number from 0 to 9, not 10"


def test_the_rule_accepts_what_the_class_writes() -> None:
    Shape.rule()(FULL)
    Shape.rule()(Shape("a").to_dict())


@value
class Framed(Recorded):
    title: str = key(NAME)
    margins: Margins = inline(Margins)


@pytest.mark.parametrize("inner", [{}, {"top": 3}, {"top": 3, "side": 4}])
def test_the_keys_of_an_inline_part_stand_among_those_of_the_record(inner: Record) -> None:
    framed = Framed.from_dict({"title": "a"} | inner)
    assert framed == Framed("a", Margins(**({"top": 1, "side": 2} | inner)))
    assert framed.to_dict() == {"title": "a"} | inner
    Framed.rule()({"title": "a"} | inner)


def test_an_inline_part_refuses_what_its_own_rule_refuses() -> None:
    for record in ({"title": "a", "top": 10}, {"title": "a", "margins": {}}, {"top": 1}):
        with pytest.raises(Broken):
            Framed.rule()(record)
