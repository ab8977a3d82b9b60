"""What several scanners have in common: networks that are loaded once, and what they say of a picture, computed once."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any, TypeVar
from weakref import WeakValueDictionary

from torch import nn

from imgscan.records import Picture

Made = TypeVar("Made")
Key = TypeVar("Key", bound=Hashable)


class Shared:
    """Fusions of the same networks, measured side by side on the CPU, cost what their parts cost, each once.

    It remembers the picture that was asked about last, so whoever wants to gain asks all scanners about one picture before the
    next.  What it hands out belongs to nobody; nothing of it may be changed.  A pickled one arrives empty.
    """

    def __init__(self) -> None:
        self._loaded: WeakValueDictionary[Hashable, nn.Module] = WeakValueDictionary()  # as long as a scanner has them
        self._picture: Picture | None = None
        self._known: dict[Hashable, Any] = {}

    def __reduce__(self) -> tuple[type[Shared], tuple[()]]:
        return Shared, ()

    def load(self, key: Hashable, make: Callable[[], nn.Module]) -> nn.Module:
        """A network by what it is made from."""
        network = self._loaded.get(key)
        if network is None:
            network = self._loaded[key] = make()
        return network

    def once(self, picture: Picture, key: Hashable, make: Callable[[], Made]) -> Made:
        """What one part says of a picture; the same object counts as the same picture, equal pixels do not."""
        return self.once_each(picture, [key], lambda _: [make()])[0]

    def once_each(self, picture: Picture, keys: Sequence[Key], make: Callable[[list[Key]], list[Made]]) -> list[Made]:
        """What several parts say of a picture; those that were not asked before are made together."""
        if picture is not self._picture:
            self._picture, self._known = picture, {}
        new = [key for key in keys if key not in self._known]
        if new:
            self._known |= zip(new, make(new), strict=True)
        return [self._known[key] for key in keys]
