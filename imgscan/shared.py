"""What several scanners have in common: networks that are loaded once, and what they say of a picture, computed once."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, TypeVar
from weakref import WeakValueDictionary

from torch import nn

from imgscan.records import Picture

Made = TypeVar("Made")


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
        if picture is not self._picture:
            self._picture, self._known = picture, {}
        if key not in self._known:
            self._known[key] = make()
        found: Made = self._known[key]
        return found
