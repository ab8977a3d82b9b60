"""Batch: the pictures of a scan and of earlier ones, held against each other when it has come to its end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from imgscan.alike.groups import Tell, alike, as_lines, untold
from imgscan.alike.pictures import Known, known_of
from imgscan.records import Source


@dataclass
class Batch:
    """The pictures of a scan, gathered while it runs."""

    earlier: Sequence[Known] = ()  # of other scans, that they are held against
    wants_parts: bool = False
    alike: list[dict[str, Any]] | None = None  # for the summary; None: the scan did not come to its end
    parts: list[dict[str, Any]] | None = None  # the same; None also where nobody asked for them
    _pictures: list[Known] = field(default_factory=list)

    def add(self, line: Mapping[str, Any]) -> None:
        """Remember a result line."""
        self._pictures += [picture for picture in (known_of(line),) if picture is not None]

    def finish(self, sources: Sequence[Source], jobs: int = 0, tell: Tell = untold) -> None:
        """Hold all against each other, parts in so many processes; what is no file is in the sources."""
        held = {str(source.path): source.content for source in sources if source.content is not None}
        groups = alike(self._pictures, self.earlier, held, tell)
        if self.wants_parts:
            from imgscan.alike.partners import parts_in_common  # which loads torch, and not before a command line is checked

            self.parts = parts_in_common(self._pictures, self.earlier, groups, held, jobs, tell)
        self.alike = as_lines(groups)
