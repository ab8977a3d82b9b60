"""What imgscan costs on this machine: every number a ratio to something else in the same run.

Timings are the best of several runs where a run is short.  Made-up pictures are smooth noise at mixed sizes, saved as JPEG: what is
in them changes no forward pass, and little else.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import partial
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from PIL import Image
from threadpoolctl import threadpool_limits

from imgscan import __version__
from imgscan.cluster import CLUSTERINGS, ClusterSettings
from imgscan.cluster.cost import made_up
from imgscan.datasets.photos import read_photo
from imgscan.datasets.synth import SynthDataset
from imgscan.devices import finish
from imgscan.errors import InputError, WorkerError
from imgscan.extract import extract
from imgscan.features_file import FeaturesFile, keeps
from imgscan.find import find
from imgscan.lines import result_lines
from imgscan.models import NETWORKS
from imgscan.pipeline import network_rate, scan
from imgscan.prepare import InputPlan, prepare
from imgscan.records import Assessed, Picture, Source
from imgscan.scanner import Scanner, default_jobs
from imgscan.store import Store
from imgscan.training.profile import profile
from imgscan.training.recipe import Recipe, TrainSection, with_settings
from imgscan.training.sequence import batches

SMALLEST = 0.01  # HDBSCAN's min_cluster_size, as a share of the points
PACKAGE_POINTS = 16_384  # the packages are not asked for more: minutes, or more memory than there is
FORGED = "scale+object+edit+clone+platform"  # families of the networks that ship
FORGERIES = 200  # made to time one
LOADED, LOADS = 32, 12  # forgeries a batch, and batches a loader
SIDES = ((256, 384), (480, 640), (512, 512), (600, 800), (768, 1024))  # height, width of the made-up pictures


@dataclass(frozen=True)
class Timed:
    """One thing that was measured."""

    what: str
    size: str
    seconds: float
    ratio: float | None = None  # of speed, to the line that `against` names (of peak memory: of memory)
    against: str = ""
    note: str = ""


def clusterings(sizes: Sequence[tuple[int, int]], device: torch.device) -> Iterator[Timed]:
    """Every clustering at several sizes, N points x D, HDBSCAN against the `hdbscan` package and scikit-learn.

    Args:
        sizes: (N, D) of the made-up features.
        device: of ours; the packages run on the CPU, with at most PACKAGE_POINTS.
    """
    settings = ClusterSettings(smallest=SMALLEST, single=False)
    for count, dim in sizes:
        points = made_up(count, dim).to(device)
        size = f"{count} x {dim}"
        runs = 3 if count <= PACKAGE_POINTS else 1
        labels, ours = _timed(partial(_labels, "hdbscan", points, settings), runs)
        against: tuple[str, float | None] = "", None
        if count <= PACKAGE_POINTS:
            for name, fit in (("hdbscan, package", _package), ("hdbscan, scikit-learn", _scikit)):
                theirs, seconds = _timed(partial(fit, points, settings))
                same = "labels equal ours" if _same_groups(labels, theirs) else "labels differ from ours"
                yield Timed(name, size, seconds, note=same)
                against = (name, seconds / ours) if name.endswith("package") else against
        yield Timed("hdbscan, imgscan", size, ours, against[1], against[0], f"peak memory so far {peak_memory()} MB")
        for name in CLUSTERINGS:
            if name == "hdbscan" or (name in ("hierarchical", "birch") and count > PACKAGE_POINTS // 2):
                continue
            _, seconds = _timed(partial(_labels, name, points, settings), runs)
            yield Timed(name, size, seconds, ours / seconds, "hdbscan, imgscan")


def _labels(method: str, points: torch.Tensor, settings: ClusterSettings) -> np.ndarray[Any, Any]:
    labels: np.ndarray[Any, Any] = CLUSTERINGS[method](points, settings)[0]
    return labels


def _package(points: torch.Tensor, settings: ClusterSettings) -> np.ndarray[Any, Any]:
    from hdbscan import HDBSCAN

    made = HDBSCAN(
        min_cluster_size=settings.members(len(points)), min_samples=settings.neighbours, allow_single_cluster=settings.single
    )
    labels: np.ndarray[Any, Any] = made.fit(points.cpu().numpy().astype(np.float64)).labels_
    return labels


def _scikit(points: torch.Tensor, settings: ClusterSettings) -> np.ndarray[Any, Any]:
    from sklearn.cluster import HDBSCAN

    made = HDBSCAN(
        min_cluster_size=settings.members(len(points)),
        min_samples=settings.neighbours + 1,  # it counts the point itself
        allow_single_cluster=settings.single,
        copy=True,
    )
    labels: np.ndarray[Any, Any] = made.fit(points.cpu().numpy().astype(np.float64)).labels_
    return labels


def _same_groups(some: np.ndarray[Any, Any], others: np.ndarray[Any, Any]) -> bool:
    pairs = set(zip(some.tolist(), others.tolist(), strict=True))
    named = len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs})
    return named and all((a == -1) == (b == -1) for a, b in pairs)


def pictures(folder: Path, count: int, sides: Sequence[tuple[int, int]] = SIDES) -> list[Source]:
    """Made-up JPEGs of mixed sizes, height x width in turn."""
    rng = np.random.default_rng(0)
    for number in range(count):
        height, width = sides[number % len(sides)]
        coarse = Image.fromarray(rng.integers(0, 256, (height // 16, width // 16, 3), np.uint8))
        smooth = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC), np.int16)
        noisy = np.clip(smooth + rng.integers(-6, 7, smooth.shape), 0, 255).astype(np.uint8)
        Image.fromarray(noisy).save(folder / f"{number:05d}.jpg", quality=90)
    return find([folder])


def whole_scan(sources: Sequence[Source], scanner: Scanner, out: Path) -> list[Timed]:
    """A scan with everything it writes, against the time that its networks alone take for the pictures they are shown."""
    before = len(scanner.timings.forwarded)
    began = time.perf_counter()
    features = FeaturesFile(out, key="bench", model="bench", weights="")
    with Store(out, features=features) as store:
        for line in result_lines(sources, {}, scanner, store):
            if keeps(line):
                features.note(line)
        store.finish()
    seconds = time.perf_counter() - began
    asked = len(scanner.timings.forwarded) - before  # what is unreadable or not judged costs the networks nothing
    alone = network_rate(scanner)
    size = f"{len(sources)} pictures"
    lines = [Timed("scan, end to end", size, seconds, note=f"{len(sources) / seconds:.2f} pictures/s")]
    if alone:
        lines = [
            Timed("networks alone", f"{asked} pictures", asked / alone, note=f"{alone:.2f} pictures/s"),
            Timed("scan, end to end", size, seconds, asked / alone / seconds, "networks alone", lines[0].note),
        ]
    parts = sorted(scanner.timings.seconds.items(), key=lambda item: -item[1])
    lines += [Timed(f"  {stage}", size, spent, note="summed over workers") for stage, spent in parts]
    return lines


def bf16_masks(sources: Sequence[Source], scanners: tuple[Scanner, Scanner]) -> list[Timed]:
    """How far the masks of the first scanner (bf16) are from those of the second (float32)."""
    masks: list[dict[int, np.ndarray[Any, Any]]] = []  # number of the picture -> its mask, eight pixels a byte
    pixels: dict[int, int] = {}
    times = []
    for scanner in scanners:
        began = time.perf_counter()
        packed = {}
        for number, item in enumerate(scan(sources, scanner)):
            if isinstance(item, Assessed):
                packed[number] = np.packbits(item.mask.forged)
                pixels[number] = item.mask.forged.size
        masks.append(packed)
        times.append(time.perf_counter() - began)
    both = [number for number in masks[0] if number in masks[1]]  # float32 needs more memory: it may be too little for a picture
    pairs = [(masks[0][number], masks[1][number]) for number in both]
    differ = sum(int(np.unpackbits(a ^ b).sum()) for a, b in pairs)
    sides = sum(bool(a.any()) != bool(b.any()) for a, b in pairs)
    share = differ / max(1, sum(pixels[number] for number in both))
    note = f"masks differ on {100 * share:.3f} % of the pixels; {sides} pictures change sides"
    size = f"{len(both)} pictures"
    return [
        Timed("scan, float32", size, times[1]),
        Timed("scan, bf16", size, times[0], times[1] / times[0], "scan, float32", note),
    ]


def official(device: torch.device, side: int = 1024) -> list[Timed]:
    """ViT-L and HRNet-W32 with random weights on one picture, side x side: through the pipeline, and called directly in float32."""
    rng = np.random.default_rng(0)
    rgb = rng.integers(0, 256, (side, side, 3), np.uint8)
    picture = Picture(Source(Path("made-up"), "made-up"), rgb, "", 0, "JPEG", 1, 90)
    plan = InputPlan("resize", side)
    networks = []
    for name in ("focal-vit", "focal-hrnet"):
        module = NETWORKS[name]
        networks.append(module.build(module.SIZES["official"]).to(device).eval())
    tensor = prepare(picture, plan)

    @torch.inference_mode()
    def directly() -> None:
        for network in networks:
            network(tensor.tiles.to(device).float() / 255)

    def pipeline() -> None:
        for network in networks:
            extract(network.to(memory_format=torch.channels_last), [prepare(picture, plan)], device, batch=1, amp=True)

    _, plain = _timed(directly, 2)
    _, ours = _timed(pipeline, 2)
    size = f"ViT-L + HRNet-W32, {side} x {side}"
    return [
        Timed("float32, called directly", size, plain),
        Timed("prepare and extract, bf16", size, ours, plain / ours, "float32, called directly"),
    ]


def training(photos: Sequence[Path], device: torch.device, sizes: Sequence[int] = (4, 32), jobs: int | None = None) -> list[Timed]:
    """What a core makes of forgeries a second, what loaders do, and how many cores a training step on the device takes to feed.

    Args:
        photos: that are forged; decoded before anything is timed.
        device: of the steps, each with its batch on the device already.
        sizes: pictures a step.
        jobs: loader processes; None: one per core.
    """
    for path in photos:
        with suppress(InputError):  # the samples pass over what cannot be decoded
            read_photo(path)
    forgeries = []
    for side in (256, 512):
        samples = _forgeries(photos, side, FORGERIES)
        with threadpool_limits(1):  # as in a loader
            _, seconds = _timed(partial(list, map(samples.__getitem__, range(FORGERIES))))
        each = seconds / FORGERIES
        forgeries.append(Timed(f"forgery of {side}, one core", f"{side} x {side}", each, note=f"{1 / each:.0f} a second"))
    forgeries.append(_loaders(photos, default_jobs() if jobs is None else jobs, forgeries[0]))
    small, steps = forgeries[0], []
    for network, batch in product(("focal-hrnet", "focal-vit"), sizes):
        settings: dict[str, dict[str, Any]] = {
            "model": {"network": network, "size": "headed"},
            "train": {"batch": batch},
            "loss": {"both_ways": True},
        }
        cost = profile(with_settings(Recipe(), settings, "bench"), device, 3)
        ratio, pace = batch * small.seconds / cost.seconds, f"{batch / cost.seconds:.0f} pictures a second"
        steps.append(Timed(f"training step, {network} headed", f"{batch} of 256 x 256", cost.seconds, ratio, small.what, pace))
    return [*forgeries, *steps]


def _forgeries(photos: Sequence[Path], side: int, count: int) -> SynthDataset:
    return SynthDataset(list(photos), side=side, seed=0, length=count, untouched_share=0.35, families=FORGED)


def _loaders(photos: Sequence[Path], jobs: int, alone: Timed) -> Timed:
    """Forgeries of 256 as a run gets them, from so many loader processes, their start included; `alone`: one core without any."""
    train = TrainSection(batch=LOADED, steps=max(1, jobs) * LOADS)
    count = train.batch * train.steps
    loaded = batches(_forgeries(photos, 256, count), train, workers=jobs, rank=0, size=1, first=0, pin=False)
    _, seconds = _timed(lambda: [len(rgb) for rgb, _, _ in loaded])
    what, pace = f"forgeries of 256, {jobs} loaders", f"{count / seconds:.0f} a second"
    return Timed(what, "256 x 256", seconds / count, alone.seconds * count / seconds, alone.what, pace)


def memory(counts: Sequence[int], model: str, device: str = "auto", jobs: int | None = None, licence: bool = False) -> list[Timed]:
    """Peak memory of scans of more and more small pictures, in processes of their own; `licence`: its terms are accepted."""
    lines: list[Timed] = []
    first = 0  # MB of the first scan
    with TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "pictures").mkdir()
        names = [source.path for source in pictures(root / "pictures", max(counts), ((128, 160), (160, 128), (96, 192)))]
        for count in counts:
            part = root / f"{count}"
            part.mkdir()
            for path in names[:count]:
                path.rename(part / path.name)
            began = time.perf_counter()
            how = str(part), model, device, jobs, licence
            code = f"from imgscan.bench import scan_folder; print(*scan_folder(*{how!r}))"
            done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
            if done.returncode:
                raise WorkerError(f"the scan of {count} pictures failed: {(done.stderr.strip() or 'no message').splitlines()[-1]}")
            own, worker = map(int, done.stdout.split())
            for path in part.iterdir():
                path.rename(root / "pictures" / path.name)
            first = first or own
            ratio = own / first if lines and first else None  # 0: the system does not tell
            said = f"{own} MB, largest worker {worker} MB" if own else "this system does not tell"
            seconds, against = time.perf_counter() - began, lines[0].size if ratio else ""
            lines.append(Timed("peak memory", f"{count} pictures", seconds, ratio, against, said))
    return lines


def scan_folder(folder: str, model: str, device: str, jobs: int | None, licence: bool) -> tuple[int, int]:
    """Scan a folder and say the peak memory of this process and of its largest worker, MB."""
    from imgscan.devices import choose_device
    from imgscan.scanner import build_scanner
    from imgscan.weights import find_model

    scanner = build_scanner(find_model(model), device=choose_device(device), jobs=jobs, accept_licence=licence)
    with TemporaryDirectory() as out:
        whole_scan(find([Path(folder)]), scanner, Path(out))
    return peak_memory(), peak_memory(of_workers=True)


def peak_memory(of_workers: bool = False) -> int:
    """Of this process, or of its largest worker that has ended, MB; 0 where the system does not tell (Windows)."""
    try:
        import resource
    except ImportError:
        return 0
    used = resource.getrusage(resource.RUSAGE_CHILDREN if of_workers else resource.RUSAGE_SELF).ru_maxrss
    return int(used // (1 << 20 if sys.platform == "darwin" else 1 << 10))  # macOS counts bytes, Linux KB


def _timed(work: Callable[[], Any], runs: int = 1) -> tuple[Any, float]:
    """The answer and the seconds of the best run."""
    best = float("inf")
    answer = None
    for _ in range(runs):
        began = time.perf_counter()
        answer = work()
        finish()
        best = min(best, time.perf_counter() - began)
    return answer, best


def as_json(lines: Sequence[Timed], model: str) -> str:
    """One object: what was measured on what, and the lines.

    Args:
        lines: what was measured.
        model: of scan, bf16 and memory.
    """
    machine = {
        "cores": torch.get_num_threads(),
        "torch": torch.__version__,
        "cuda": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "platform": sys.platform,
    }
    said = {"imgscan": __version__, "model": model, "machine": machine, "lines": [asdict(line) for line in lines]}
    return json.dumps(said, indent=1)
