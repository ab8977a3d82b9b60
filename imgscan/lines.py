"""Lines: the result of every picture as a line of the record, each when its files are on disk."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future

from imgscan.pipeline import scan
from imgscan.records import Assessed, Line, Skipped, Source
from imgscan.report.jsonl import result_line
from imgscan.scanner import Scanner
from imgscan.store import Store

BACKLOG = 8  # results whose files are still being written, before the scan has to wait


def result_lines(
    sources: Sequence[Source],
    earlier: Mapping[int, Line],
    scanner: Scanner,
    store: Store,
    names: Mapping[str, int] | None = None,
) -> Iterator[Line]:
    """A result line per source, in their order, each when its files are on disk.

    Args:
        sources, scanner, store: what is scanned, by whom, and where its files go.
        earlier: number of a source -> its line of an earlier scan.
        names: how many pictures of the scan so far have a name, in lower case; None: these are all.
    """
    computed = scan([source for number, source in enumerate(sources) if number not in earlier], scanner)
    alike = Counter(source.name.casefold() for source in sources) if names is None else names
    waiting: deque[tuple[Assessed | Skipped | Line, Future[dict[str, str]] | None]] = deque()
    for number in range(len(sources)):
        item = earlier[number] if number in earlier else next(computed)
        # Where upper and lower case are one, what lies under this name may be another picture's of this scan.
        if isinstance(item, Skipped) and alike[item.source.name.casefold()] == 1:
            store.drop(item.source.name)
        waiting.append((item, store.add(item) if isinstance(item, Assessed) else None))
        while waiting and (len(waiting) > BACKLOG or waiting[0][1] is None or waiting[0][1].done()):
            yield _line(*waiting.popleft())
    while waiting:
        yield _line(*waiting.popleft())
    next(computed, None)  # its processes end here, where a signal is heard, and not when it is deleted


def _line(item: Assessed | Skipped | Line, written: Future[dict[str, str]] | None) -> Line:
    if isinstance(item, dict):
        return item
    return result_line(item, written.result() if written is not None else None)
