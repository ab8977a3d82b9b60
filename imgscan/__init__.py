"""imgscan: a forensic batch scanner that finds tampered pictures and says where they were tampered with.

The library is three names: `scan`, and the two kinds of result that it yields, `Finding` and `Skipped`.  man/library.md shows them
at work.  Everything else is the tool's own and may change with any version.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from os import PathLike

    from imgscan.records import Finding, Skipped

    Picture = str | PathLike[str] | bytes | bytearray | memoryview

__version__ = "0.1.0"
DEFAULT_MODEL = "focal-fusion+copy-move+adq"  # what a scan uses where nobody names a model; see weights.ALIASES
__all__ = ["Finding", "Skipped", "scan"]


def __getattr__(name: str) -> Any:
    """The records when they are asked for: `imgscan --help` imports this package, too, and does not need them."""
    if name in ("Finding", "Skipped"):
        from imgscan import records

        return getattr(records, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def scan(
    pictures: Picture | Iterable[Picture],
    *,
    model: str = DEFAULT_MODEL,
    device: str = "auto",
    jobs: int = 0,
    cluster: str | None = None,
    grid: int | None = None,
    compat: str | None = None,
    accept_licence: bool = False,
    drawn: bool = False,
) -> Iterator[Finding | Skipped]:
    """Assess pictures: is part of this one of another history, and where?

    Nothing is written and nothing is printed.  Torch and the weights are loaded when the first result is asked for.

    Args:
        pictures: a file, a folder (searched for pictures), the bytes of a picture, or several of them.
        model: as for `imgscan scan --model`: focal-fusion, ensemble, copy-move, NAME@TAG, NAME@path/to/card.toml, a+b, ela, ...
        device: auto, cpu, cuda, cuda:N or mps.
        jobs: worker processes; 0: none beside this one.  A script that asks for some needs `if __name__ == "__main__":` where
            processes are started by spawning (macOS, Windows).
        compat: official, as for `imgscan scan --compat`.
        accept_licence: use weights that forbid commercial use.
        drawn: judge screenshots and other drawn or typeset pictures too, as if they were photographs.
        cluster, grid: in place of the weights card's own; the card's levels then do not hold and all are "none".

    Yields:
        A Finding with its `mask` for every picture that could be assessed, also where nothing was found (score 0.0, level "none")
        or it was not judged (`withheld` says why), and a Skipped with a reason for every other file; in the order of the pictures,
        names within a folder sorted.

    Raises:
        imgscan.errors.ImgscanError: no such path, model or device; weights that are not what their card says; a grid that is not of
            8 to 256 cells, fewer than 0 jobs, or some in a process of multiprocessing.Pool, which may not start others; an argument
            of another type than it says here.
    """
    from collections.abc import Iterable
    from dataclasses import replace
    from multiprocessing import current_process
    from os import PathLike

    from imgscan.devices import choose_device
    from imgscan.errors import InputError
    from imgscan.find import find_all
    from imgscan.pipeline import scan as assess
    from imgscan.records import Assessed
    from imgscan.scanner import build_scanner, parse_grid
    from imgscan.weights import find_model

    _check(model=model, device=device, cluster=cluster, compat=compat, accept_licence=accept_licence, drawn=drawn)
    grid, processes = _whole("grid", grid), _whole("jobs", jobs)
    if grid is not None:
        parse_grid(str(grid))
    if processes is not None and processes < 0:
        raise InputError(f"jobs is {jobs}; wanted 0 (this process) or more")
    if processes and current_process().daemon:
        raise InputError(
            f"jobs is {jobs}; wanted 0 here: a daemonic process, as those of multiprocessing.Pool, may start no others"
        )
    if hasattr(pictures, "read"):  # its lines would be taken for paths
        raise InputError(f"pictures is {pictures!r}, an open file; wanted a path, or the bytes in it")
    one = isinstance(pictures, (str, bytes, bytearray, memoryview, PathLike)) or not isinstance(pictures, Iterable)
    several = cast("Iterable[Picture]", [pictures] if one else pictures)
    sources = find_all(several)
    chosen = find_model(model, compat).with_clustering(cluster, grid)
    scanner = build_scanner(
        chosen, device=choose_device(device), jobs=processes, drawn=drawn, spares=True, accept_licence=accept_licence
    )
    for item in assess(sources, scanner):
        yield replace(item.finding, mask=item.mask) if isinstance(item, Assessed) else item


def _check(**given: Any) -> None:
    """InputError for an argument of another type: text, or one of the two that are True or False, which "no" is not."""
    from imgscan.errors import InputError

    for name, value in given.items():
        if name in ("accept_licence", "drawn"):
            if value not in (True, False):
                raise InputError(f"{name} is {value!r}; wanted True or False")
        elif not (isinstance(value, str) or (value is None and name in ("cluster", "compat"))):
            raise InputError(f"{name} is {value!r}; wanted text, as imgscan scan --{name} takes it")


def _whole(name: str, value: Any) -> int | None:
    """A whole number of any kind as int; None stays."""
    from operator import index

    from imgscan.errors import InputError

    try:
        return None if value is None else index(value)
    except TypeError:
        raise InputError(f"{name} is {value!r}; wanted a whole number") from None
