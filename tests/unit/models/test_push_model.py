"""Pushes are equal by all their fields, those of subclasses included, and hash by their identifiers."""

from __future__ import annotations

import copy
import pickle
from dataclasses import dataclass, field
from typing import Any, ClassVar

import pytest

from pushcore.models.apns import Broadcast, Notification
from pushcore.models.aps import Aps
from pushcore.models.expo_message import ExpoMessage
from pushcore.models.fcm import LegacyMessage, Message
from pushcore.models.push_model import PushModel

PAYLOAD = {"aps": {"alert": "Hi"}}


class SlottedRow(Notification):
    __slots__ = ("__secret", "row")

    def __init__(self, token: str, row: int | None = None, secret: str | None = None) -> None:
        super().__init__(token, PAYLOAD)
        if row is not None:  # a slot may stay empty
            self.row = row
        if secret is not None:
            self.__secret = secret


class OpenRow(Notification):  # with a __dict__
    def __init__(self, token: str, **more: object) -> None:
        super().__init__(token, PAYLOAD)
        self.__dict__.update(more)


@dataclass
class DataRow(Message):
    row: int = 0
    seen: int = field(default=0, compare=False)

    def __post_init__(self) -> None:
        super().__init__(token=f"token {self.row // 10}")


@dataclass(slots=True)
class SlottedDataRow(LegacyMessage):
    row: int = 0
    name: str = "a"

    def __post_init__(self) -> None:
        LegacyMessage.__init__(self, to=self.name)


@dataclass(frozen=True, slots=True)
class BroadcastRow(Broadcast):
    row: int = 0


class ExpoRow(ExpoMessage):
    row = 0


class Inherited(SlottedRow):
    """A subclass of a subclass, without fields of its own."""


PAIRS: list[tuple[Any, Any, Any]] = [
    (Notification("ab", dict(PAYLOAD)), Notification("ab", dict(PAYLOAD)), Notification("cd", PAYLOAD)),
    (Notification("ab", b"{}"), Notification("ab", b"{}"), Notification("ab", b"[]")),
    (Notification("ab", Aps("Hi")), Notification("ab", Aps("Hi")), Notification("ab", Aps("Ho"))),
    (
        Notification("ab", PAYLOAD, priority=5),
        Notification("ab", PAYLOAD, priority=5),
        Notification("ab", PAYLOAD),
    ),
    (SlottedRow("ab", 1), SlottedRow("ab", 1), SlottedRow("cd", 1)),
    (SlottedRow("ab", 1), SlottedRow("ab", 1), SlottedRow("ab", 2)),
    (SlottedRow("ab", 1), SlottedRow("ab", 1), SlottedRow("ab")),
    (SlottedRow("ab", 1, "x"), SlottedRow("ab", 1, "x"), SlottedRow("ab", 1, "y")),
    (Inherited("ab", 1), Inherited("ab", 1), Inherited("cd", 1)),
    (OpenRow("ab", row=1), OpenRow("ab", row=1), OpenRow("ab", row=2)),
    (OpenRow("ab", row=1), OpenRow("ab", row=1), OpenRow("ab")),
    (OpenRow("ab", row=1), OpenRow("ab", row=1), OpenRow("cd", row=1)),
    (Message(token="a", data={"k": "v"}), Message(token="a", data={"k": "v"}), Message(token="a")),
    (Message(topic="a"), Message(topic="a"), Message(condition="a")),
    (DataRow(11, 1), DataRow(11, 2), DataRow(12, 1)),
    (SlottedDataRow(1, "a"), SlottedDataRow(1, "a"), SlottedDataRow(1, "b")),
    (SlottedDataRow(1, "a"), SlottedDataRow(1, "a"), SlottedDataRow(2, "a")),
    (LegacyMessage(registration_ids=["a"]), LegacyMessage(registration_ids=["a"]), LegacyMessage(to="a")),
    (Broadcast("c", PAYLOAD), Broadcast("c", dict(PAYLOAD)), Broadcast("c", {})),
    (BroadcastRow("c", PAYLOAD, 1), BroadcastRow("c", PAYLOAD, 1), BroadcastRow("c", PAYLOAD, 2)),
    (ExpoMessage(["a", "b"], data={}), ExpoMessage(["a", "b"], data={}), ExpoMessage(["a"], data={})),
    (ExpoRow("a", title="t"), ExpoRow("a", title="t"), ExpoRow("a", title="u")),
]


@pytest.mark.parametrize(("push", "same", "different"), PAIRS)
def test_equal_by_all_fields_and_hashed_by_identifiers(push: Any, same: Any, different: Any) -> None:
    assert push == same
    assert same == push
    assert hash(push) == hash(same)
    assert push != different
    assert different != push
    assert len({push, same, different}) == 2
    assert copy.copy(push) == push


def test_pushes_of_different_classes_are_not_equal() -> None:
    row = SlottedRow("ab")
    for other in (
        Notification("ab", PAYLOAD),
        Inherited("ab"),
        OpenRow("ab"),
        Message(token="ab"),
        "ab",
        None,
    ):
        assert row != other
        assert other != row
    assert Notification("ab", PAYLOAD).__eq__(row) is NotImplemented


def test_the_hash_ignores_what_does_not_identify_a_push() -> None:
    assert hash(Notification("ab", {"a": []})) == hash(Notification("ab", {"b": {}}, priority=5))
    assert hash(Notification("ab", PAYLOAD, apns_id="1")) != hash(Notification("ab", PAYLOAD, apns_id="2"))
    assert hash(Message(token="ab")) != hash(Message(fid="ab"))
    assert hash(Message(token="ab")) != hash(LegacyMessage(to="ab"))


def test_a_subclass_may_have_its_own_identifiers_equality_and_hash() -> None:
    class Numbered(Notification):
        __slots__ = ("row",)
        identifiers: ClassVar[tuple[str, ...]] = (*Notification.identifiers, "row")

        def __init__(self, row: int) -> None:
            super().__init__("ab", PAYLOAD)
            self.row = row

    class ByToken(Notification):
        def __eq__(self, other: object) -> bool:
            return isinstance(other, Notification) and other.token == self.token

        def __hash__(self) -> int:
            return 1

    class Unhashable(Notification):
        def __eq__(self, other: object) -> bool:
            return self is other

    assert hash(Numbered(1)) != hash(Numbered(2))
    assert ByToken("ab", {}) == ByToken("ab", PAYLOAD)
    assert hash(ByToken("ab", {})) == 1
    with pytest.raises(TypeError, match="unhashable"):
        hash(Unhashable("ab", {}))  # as everywhere in Python: an equality of its own needs a hash of its own


def test_a_push_with_one_slot_given_as_text_is_compared() -> None:
    class One(PushModel):
        __slots__ = "only"  # Python takes a plain string

        def __init__(self, only: int) -> None:
            self.only = only

    assert One(1) == One(1)
    assert One(1) != One(2)


def test_pushes_are_pickled_with_their_equality() -> None:
    for push in (Notification("ab", PAYLOAD), DataRow(3), Broadcast("c", PAYLOAD)):
        assert pickle.loads(pickle.dumps(push)) == push


def test_a_subclass_with_slots_gives_the_same_json() -> None:
    class Row(LegacyMessage):
        __slots__ = ("row",)
        row: int

    row = Row.from_dict({"to": "ab", "priority": "high"})
    row.row = 7
    assert row.to_dict() == {"to": "ab", "priority": "high"}
    with pytest.raises(ValueError, match="unknown key 'row'"):
        Row.from_dict({"to": "ab", "row": 7})
