"""`PushModel`: what all pushes have in common, which is how they are compared and what identifies them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

_NOT_FIELDS = ("__dict__", "__weakref__")


class PushModel:
    """Two pushes are equal if they have the same class and all their fields are equal. This includes fields of subclasses:
    slots, fields of a dataclass, plain attributes. A dataclass field with `compare=False` is left out.

    The hash is made of the class and the identifiers, because payloads are dicts, which have no hash. So do not change an
    identifier of a push that is in a set or is a key of a dict.
    """

    __slots__ = ()

    identifiers: ClassVar[tuple[str, ...]] = ()
    """The fields that say which push this is: its target, and the id that its sender gave it. They make the hash, and
    `Result.to_dict` has them. A subclass may add its own."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        # The decorator `dataclass` leaves alone what a class defines, and would else compare its own fields only.
        if "__eq__" not in cls.__dict__:
            cls.__eq__ = PushModel.__eq__  # type: ignore[method-assign]
            if "__hash__" not in cls.__dict__:
                cls.__hash__ = PushModel.__hash__  # type: ignore[method-assign]

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return dict(_fields(self)) == dict(_fields(other))

    def __hash__(self) -> int:
        return hash((type(self), *(_hashable(getattr(self, name, None)) for name in self.identifiers)))


def _fields(push: object) -> Iterator[tuple[str, Any]]:
    """Each field that is set, by its name."""
    ignored = {
        name
        for name, field in getattr(type(push), "__dataclass_fields__", {}).items()
        if field.compare is False
    }
    for name in _slots(type(push)):
        if name not in ignored and hasattr(push, name):
            yield name, getattr(push, name)
    for name, value in getattr(push, "__dict__", {}).items():
        if name not in ignored:
            yield name, value


def _slots(push_class: type) -> Iterator[str]:
    for owner in push_class.__mro__:
        slots = owner.__dict__.get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            if name.startswith("__") and not name.endswith("__"):
                yield f"_{owner.__name__.lstrip('_')}{name}"  # as Python stores a private name
            elif name not in _NOT_FIELDS:
                yield name


def _hashable(value: Any) -> Any:
    return tuple(value) if isinstance(value, Sequence) and not isinstance(value, str) else value
