import multiprocessing
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from imgscan import stages, workers
from imgscan.batches import batch_by_batch
from imgscan.datasets.forge import forge
from imgscan.decode import decode
from imgscan.detectors import DETECTORS
from imgscan.devices import choose_device
from imgscan.drawn import DRAWN
from imgscan.errors import InputError, WorkerError
from imgscan.evaluation.pixel import score_metrics
from imgscan.find import find
from imgscan.pipeline import examine, network_rate, scan
from imgscan.prepare import InputPlan
from imgscan.records import Assessed, Picture, Skipped, Source
from imgscan.scanner import Scanner, build_scanner
from imgscan.weights import find_model
from imgscan.workers import each
from tests.test_drawn import window

CPU = torch.device("cpu")


def tiny_scanner(tiny_model: str, batch: int = 2, jobs: int = 0) -> Scanner:
    return build_scanner(find_model(tiny_model), device=CPU, batch=batch, jobs=jobs, amp=False)


def test_beside_a_copy_the_level_likely_counts() -> None:
    """Unless somebody asks to see what is weaker than usual."""
    model = find_model("focal-hrnet")
    scores = {point.level: point.score for point in model.points}
    usual, weak = (build_scanner(model, device=CPU, jobs=0, weakest=least).localizing for least in (None, scores["possible"]))
    assert (usual.strength, usual.beside) == (scores["default"], scores["likely"])
    assert (weak.strength, weak.beside) == (scores["possible"], 0)


def test_side_is_the_most_a_network_sees_at_once() -> None:
    """Of tiles and of whole pictures; a picture is shown shrunk besides only where mask heads decide."""
    model = find_model("focal-hrnet")
    own, narrow = (build_scanner(model, device=CPU, jobs=0, side=side).plans[0] for side in (None, 256))
    assert (own.side, own.whole, own.beyond) == (512, 768, "both")
    assert (narrow.side, narrow.whole, narrow.beyond) == (256, 256, "both")
    assert build_scanner(model, device=CPU, jobs=0, beyond="tile").plans[0].beyond == "tile"
    clustered = build_scanner(model.with_clustering("hdbscan", None), device=CPU, jobs=0)
    assert clustered.plans[0].beyond == "tile"


def test_every_picture_comes_back_in_order_at_its_own_size(folder: Path, tiny_model: str) -> None:
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff nothing")
    results = list(scan(find([folder]), tiny_scanner(tiny_model)))
    names = [r.source.name if isinstance(r, Skipped) else r.finding.picture.name for r in results]
    assert names == ["broken.jpg", "forged.png", "tall.webp", "a/b.jpg"]
    assert isinstance(results[0], Skipped)
    sizes = [r.mask.forged.shape for r in results if isinstance(r, Assessed)]
    assert sizes == [(128, 128), (160, 96), (128, 192)]
    for result in results[1:]:
        assert isinstance(result, Assessed)
        assert result.mask.probability.min() >= 0
        assert result.mask.probability.max() <= 1
        assert result.features.vectors.shape[0] == 32, "two tiny networks of 16 channels"


def test_batch_and_jobs_change_nothing(folder: Path, tiny_model: str) -> None:
    sources = [replace(source, name=f"{n}/{source.name}") for n in range(2) for source in find([folder])]
    alone, together = (
        [r for r in scan(sources, tiny_scanner(tiny_model, batch, jobs)) if isinstance(r, Assessed)]
        for batch, jobs in ((1, 0), (4, 2))
    )
    check_equal(alone, together)
    assert [r.finding.picture.name for r in together] == [source.name for source in sources]


@pytest.mark.parametrize("jobs", [0, 2])
def test_the_way_of_a_gpu_gives_the_same(folder: Path, tiny_model: str, jobs: int) -> None:
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff nothing")
    alone = list(scan(find([folder]), tiny_scanner(tiny_model)))
    batched = list(batch_by_batch(map(decode, find([folder])), tiny_scanner(tiny_model, batch=4, jobs=jobs)))
    assert isinstance(batched[0], Skipped)
    check_equal(alone[1:], batched[1:])


def test_the_way_of_a_gpu_clusters_where_it_is_faster(folder: Path, tiny_model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("imgscan.batches.DEVICE_CELLS", 1)
    for method in ("hdbscan", "kmeans"):
        scanner = build_scanner(find_model(tiny_model).with_clustering(method, None), device=CPU, batch=2, jobs=0, amp=False)
        alone = list(scan(find([folder]), scanner))
        check_equal(alone, list(batch_by_batch(map(decode, find([folder])), scanner)))


def check_equal(some: Sequence[Assessed | Skipped], others: Sequence[Assessed | Skipped]) -> None:
    assert len(some) == len(others) >= 3
    for one, other in zip(some, others, strict=True):
        assert isinstance(one, Assessed)
        assert isinstance(other, Assessed)
        assert one.finding.picture == other.finding.picture
        np.testing.assert_allclose(one.features.vectors, other.features.vectors, atol=1e-4)
        assert (one.mask.forged == other.mask.forged).mean() > 0.99


def test_a_worker_that_dies_is_an_error_not_a_hang(folder: Path, tiny_model: str) -> None:
    with pytest.raises(WorkerError, match="fewer --jobs"):
        list(each(find([folder]), die, workers=1))


def die(source: Source) -> None:
    os._exit(9)


def test_a_picture_that_does_not_fit_into_memory_ends_nothing(
    folder: Path, tiny_model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    errors: list[Exception] = []

    def forward(*_: object) -> None:
        raise errors[-1]

    scanner = tiny_scanner(tiny_model)
    monkeypatch.setattr(stages, "forward_batch", forward)
    for error in (MemoryError(), RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried ...")):
        errors.append(error)
        results = list(scan(find([folder]), scanner))
        assert results
        assert all(isinstance(one, Skipped) for one in results)
        assert any(isinstance(one, Skipped) and one.reason.endswith("pixels do not fit into memory") for one in results)
    errors.append(RuntimeError("another one"))
    with pytest.raises(RuntimeError, match="another one"):
        list(scan(find([folder]), scanner))


def test_a_picture_too_large_for_a_window_on_a_device_takes_no_other_with_it(
    folder: Path, tiny_model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Batches end as pictures one by one do: what does not fit alone is skipped, the others are assessed."""
    forward = stages.forward_batch
    pictures = list(map(decode, find([folder])))
    largest = max((one for one in pictures if isinstance(one, Picture)), key=lambda one: one.height * one.width)

    def limited(window: list[Picture], *rest: Any) -> object:
        if largest in window:
            raise MemoryError
        return forward(window, *rest)

    wanted = list(batch_by_batch(pictures, tiny_scanner(tiny_model, batch=4)))
    monkeypatch.setattr(stages, "forward_batch", limited)
    found = list(batch_by_batch(pictures, tiny_scanner(tiny_model, batch=4)))
    lost = [one for one, other in zip(found, wanted, strict=True) if isinstance(one, Skipped) and not isinstance(other, Skipped)]
    assert [one.source for one in lost] == [largest.source]
    kept = [
        (one, other) for one, other in zip(found, wanted, strict=True) if isinstance(one, Assessed) and isinstance(other, Assessed)
    ]
    assert len(kept) > 1
    assert all(one.finding.picture == other.finding.picture for one, other in kept)
    assert all(one.finding.score == pytest.approx(other.finding.score, abs=1e-4) for one, other in kept)


def test_results_that_are_early_wait_in_files_when_they_are_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "HELD_BYTES", 10)
    early = workers._Early(tmp_path)
    for index in (3, 1, 2):
        early.put(index, bytes([index]) * 6)
    assert len(list(tmp_path.iterdir())) == 2
    assert [early.pop(index) for index in (1, 2, 3)] == [b"\1" * 6, b"\2" * 6, b"\3" * 6]
    assert not list(tmp_path.iterdir())
    assert not early.has(3)


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="looks for processes where Linux has them")
def test_workers_end_with_a_parent_that_was_killed(tmp_path: Path) -> None:
    program = (
        "import os, sys, time\nfrom imgscan.workers import each\n"
        "def work(n):\n    open(f'{sys.argv[1]}/{os.getpid()}', 'w').close()\n    time.sleep(n and 600)\n"
        "    return bytes(9_000_000)\n"
        "list(each([0] * 2 + [1] * 8, work, 2))\n"
    )
    with subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE) as parent:
        deadline = time.monotonic() + 120
        while len(list(tmp_path.iterdir())) < 2 and time.monotonic() < deadline:
            time.sleep(0.05)
        workers_of = [int(path.name) for path in tmp_path.iterdir()]
        assert len(workers_of) == 2
        parent.kill()
        assert parent.stdout is not None
        parent.stdout.read()  # comes to an end only when nobody holds the other side
    deadline = time.monotonic() + 10
    while any(Path(f"/proc/{process}").exists() for process in workers_of) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not any(Path(f"/proc/{process}").exists() for process in workers_of)


def run_program(program: str) -> subprocess.CompletedProcess[str]:
    """In a process of its own, whose signals and hooks of forks are nobody else's."""
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="looks at what a fork drops")
@pytest.mark.parametrize("number", ["SIGINT", "SIGTERM", "SIGHUP"])
@pytest.mark.parametrize(
    "start",
    ["from imgscan.workers import each\nlist(each(range(8), str, 2))", "from imgscan.batches import _processes\n_processes(2)"],
)
def test_an_interruption_while_workers_are_started_is_not_lost(start: str, number: str) -> None:
    """What a signal raises in a hook of a fork Python only reports, and goes on; a lock may stay locked then."""
    program = (
        "import os, signal\nimport imgscan.batches\n"
        "def stop(*_):\n    raise KeyboardInterrupt\n"
        f"signal.signal(signal.{number}, stop)\n"
        f"os.register_at_fork(after_in_parent=lambda: signal.raise_signal(signal.{number}))\n"
        f"try:\n    {start.replace(chr(10), chr(10) + '    ')}\nexcept KeyboardInterrupt:\n    print('interrupted')\n"
    )
    done = run_program(program)
    assert done.stdout.strip() == "interrupted", done.stderr
    assert "Exception ignored" not in done.stderr


@pytest.mark.skipif(not hasattr(os, "fork"), reason="as above")
def test_workers_hear_signals_as_their_parent_does() -> None:
    """An application that lives through Ctrl-C keeps its scans."""
    program = (
        "import signal\nfrom imgscan.workers import each\n"
        "def mine(*_):\n    pass\n"
        "signal.signal(signal.SIGINT, mine)\n"
        "def work(n):\n    signal.raise_signal(signal.SIGINT)\n    return signal.getsignal(signal.SIGINT) is mine\n"
        "print(all(each(range(4), work, 2)))\n"
    )
    done = run_program(program)
    assert (done.stdout.strip(), done.stderr) == ("True", "")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="as above")
def test_a_worker_does_not_fall_over_its_own_beginning() -> None:
    """One that ends there with an error is taken for killed, and the scan for broken in place of interrupted."""
    program = (
        "import os, signal\nfrom imgscan.workers import each\n"
        "os.register_at_fork(after_in_child=lambda: signal.raise_signal(signal.SIGINT))\n"
        "print(list(each(range(4), str, 2)))\n"
    )
    done = run_program(program)
    assert (done.stdout.strip(), done.stderr) == ("['0', '1', '2', '3']", "")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="as above")
def test_a_child_of_the_users_program_computes_after_a_scan() -> None:
    """It has none of the threads that its parent has, and once waited for them for ever."""
    program = (
        "import os, torch\nimport imgscan.pipeline\n"
        "torch.set_num_threads(2)\n"
        "many = torch.ones(1 << 20)\n"
        "assert float((many + 1).sum()) == 2 << 20\n"
        "child = os.fork()\n"
        "if child == 0:\n    os._exit(int(float((many + 2).sum()) != 3 << 20))\n"
        "print(os.waitpid(child, 0)[1], float((many + 1).mean()))\n"
    )
    done = run_program(program)
    assert (done.stdout.strip(), done.stderr) == ("0 2.0", "")


@pytest.mark.parametrize(
    ("items", "jobs", "forked", "spawned"),
    [
        *[(0, 2, 0, 0), (1, 1, 0, 0), (1, 2, 0, 0), (2, 2, 2, 0), (3, 2, 2, 0), (4, 2, 2, 2), (2, 1, 1, 1), (9, 0, 0, 0)],
        *[(3, 8, 0, 0), (4, 8, 4, 0), (15, 8, 8, 0), (16, 8, 8, 8)],
    ],
)
def test_how_many_processes_few_pictures_get(
    items: int, jobs: int, forked: int, spawned: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for method, wanted in (("fork", forked), ("spawn", spawned)):
        monkeypatch.setattr(workers, "start_method", partial(multiprocessing.get_context, method))
        assert workers.busy(range(items), jobs) == wanted


@pytest.mark.skipif(sys.platform != "linux", reason="the way that Python 3.14 begins processes there")
def test_networks_need_not_be_sent_to_workers(folder: Path, tmp_path: Path) -> None:
    """A fork server is handed at most some 250 tensors; a network of the field has more."""
    program = (
        "import multiprocessing, sys, torch\nfrom imgscan.workers import each\n"
        "class Work:\n    def __init__(self):\n        self.many = [torch.zeros(1) for _ in range(400)]\n"
        "    def __call__(self, n):\n        return n + len(self.many)\n"
        "if __name__ == '__main__':\n    multiprocessing.set_start_method('forkserver')\n"
        "    print(list(each([1, 2, 3, 4], Work(), 2)))\n"
    )
    (tmp_path / "program.py").write_text(program)
    done = subprocess.run([sys.executable, tmp_path / "program.py"], capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout.strip() == "[401, 402, 403, 404]", done.stderr


def test_nothing_to_scan(tiny_model: str) -> None:
    assert list(scan([], tiny_scanner(tiny_model))) == []


@pytest.fixture
def twice(folder: Path, photos: list[np.ndarray]) -> Path:
    """A folder with a picture in which a part of 60 x 60 pixels is there twice."""
    rgb = photos[0][:256, :384].copy()
    rgb[150:210, 250:310] = rgb[40:100, 60:120]
    Image.fromarray(rgb).save(folder / "twice.png")
    return folder


@pytest.mark.parametrize("jobs", [0, 1])
def test_what_is_found_beside_the_networks_is_marked(twice: Path, headed_model: str, jobs: int) -> None:
    plain, seeking = (
        {r.finding.picture.name: r for r in scan(find([twice]), tiny_scanner(name, jobs=jobs)) if isinstance(r, Assessed)}
        for name in (headed_model, f"{headed_model}+copy-move")
    )
    marked = seeking["twice.png"].mask
    assert marked.forged[155:205, 255:305].mean() > 0.95
    assert marked.forged[45:95, 65:115].mean() > 0.95
    assert seeking["twice.png"].finding.score > 0.95
    for name in plain.keys() - {"twice.png"}:
        assert seeking[name].finding == plain[name].finding
    sources = map(decode, find([twice]))
    check_equal(list(seeking.values()), list(batch_by_batch(sources, tiny_scanner(f"{headed_model}+copy-move", jobs=jobs))))


def test_what_is_not_judged_is_not_searched(twice: Path, headed_model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    scanner = tiny_scanner(f"{headed_model}+copy-move")
    picture = decode(Source(twice / "twice.png", "twice.png"))
    assert isinstance(picture, Picture)
    drawn = replace(picture, drawn=0.5)
    careful = replace(scanner, localizing=replace(scanner.localizing, drawn=0.5))
    [judged] = examine([picture], careful)
    assert isinstance(judged, Assessed)
    assert judged.mask.forged.any()
    monkeypatch.setattr(stages, "seek", None)  # nobody may ask
    answers = [*examine([drawn], careful), *batch_by_batch(iter([drawn]), careful)]
    assert [one.finding.withheld is None or one.mask.forged.any() for one in answers if isinstance(one, Assessed)] == [False, False]


@pytest.mark.parametrize("jobs", [0, 1])
def test_timings_cover_the_stages(folder: Path, tiny_model: str, jobs: int) -> None:
    scanner = tiny_scanner(tiny_model, jobs=jobs)
    list(scan(find([folder]), scanner))
    assert set(scanner.timings.seconds) == {"decode", "prepare", "extract", "fuse", "cluster", "localize"}
    assert [source.name for source, _ in scanner.timings.forwarded] == ["forged.png", "tall.webp", "a/b.jpg"]
    rate = network_rate(scanner)
    assert rate is not None
    assert rate > 0


def test_no_pictures_no_rate(tiny_model: str) -> None:
    assert network_rate(tiny_scanner(tiny_model)) is None


@pytest.mark.parametrize("name", ["cuda:99", "gpu", "tpu"])
def test_a_device_that_is_not_there_says_what_is(name: str) -> None:
    with pytest.raises(InputError, match=r"there is: auto, cpu"):
        choose_device(name)


def test_auto_is_a_device() -> None:
    assert choose_device("auto").type in ("cpu", "cuda", "mps")
    assert choose_device("cpu") == CPU


@pytest.fixture(scope="module")
def forged(tmp_path_factory: pytest.TempPathFactory, photos: list[np.ndarray]) -> tuple[Path, dict[str, np.ndarray]]:
    """Eight spliced pictures of 320 x 320 with their truths, made from photographs that no shipped network has seen."""
    root = tmp_path_factory.mktemp("forged")
    truths = {}
    for number in range(8):
        rng = np.random.default_rng((4, number))
        made = forge(lambda rng=rng: photos[int(rng.integers(4))], 320, rng, "splicing")
        Image.fromarray(made.rgb).save(root / f"{number}.png")
        truths[f"{number}.png"] = made.labels > 0
    return root, truths


def test_the_weights_that_ship_find_forgeries(forged: tuple[Path, dict[str, np.ndarray]]) -> None:
    """Not a benchmark: a wrong polarity, a lost noise view or a shifted grid would leave this at 0.5."""
    root, truths = forged
    scanner = build_scanner(find_model("focal-fusion"), device=CPU, batch=4, jobs=0)
    aucs = []
    for result in scan(find([root]), scanner):
        assert isinstance(result, Assessed)
        truth = truths[result.finding.picture.name]
        auc = score_metrics(truth, result.mask.probability).auc
        assert auc is not None
        aucs.append(auc)
    assert np.mean(aucs) > 0.75


def test_networks_are_not_asked_about_what_is_not_judged(folder: Path, headed_model: str) -> None:
    window().save(folder / "window.png")
    scanner = replace(tiny_scanner(headed_model), spares=True)
    scanner = replace(scanner, localizing=replace(scanner.localizing, drawn=DRAWN))
    for results in (list(scan(find([folder]), scanner)), list(batch_by_batch(map(decode, find([folder])), scanner))):
        assert len(results) == 4
        for one in results:
            assert isinstance(one, Assessed)
            drawn = one.finding.picture.name == "window.png"
            assert (one.finding.withheld is not None) == (one.features is None) == (one.clusters is None) == drawn
            assert one.mask.probability.any() != drawn
    assert "window.png" not in {source.name for source, _ in scanner.timings.forwarded}
    (asked,) = scan(find([folder / "window.png"]), replace(scanner, spares=False))
    assert isinstance(asked, Assessed)
    assert asked.finding.withheld is not None
    assert asked.mask.probability.any()


@pytest.mark.parametrize("cluster", [None, "kmeans"])
def test_a_frame_is_not_seen(tmp_path: Path, photos: list[np.ndarray], headed_model: str, cluster: str | None) -> None:
    """What lies within is judged as the same pixels alone are."""
    within = photos[0][:144, :192]
    Image.fromarray(np.pad(within, ((32, 32), (48, 16), (0, 0)), constant_values=255)).save(tmp_path / "framed.png")
    Image.fromarray(within[8:-2, 8:-2]).save(tmp_path / "cut.png")
    model = find_model(headed_model).with_clustering(cluster, None)
    scanner = build_scanner(model, device=CPU, batch=2, jobs=0, amp=False, everything=True)
    for results in (scan(find([tmp_path]), scanner), batch_by_batch(map(decode, find([tmp_path])), scanner)):
        alone, framed = results
        assert isinstance(alone, Assessed)
        assert isinstance(framed, Assessed)
        assert framed.features.inside == framed.picture.inside == framed.finding.inside == (56, 40, 238, 174)
        np.testing.assert_allclose(framed.features.vectors, alone.features.vectors, atol=1e-5)
        np.testing.assert_allclose(framed.mask.probability[40:174, 56:238], alone.mask.probability, atol=1e-5)
        assert framed.finding.score == pytest.approx(alone.finding.score, abs=1e-5)
        outside = np.ones_like(framed.mask.forged)
        outside[40:174, 56:238] = False
        assert not framed.mask.probability[outside].any()


def test_a_frame_is_seen_where_the_authors_code_decides(
    tmp_path: Path, photos: list[np.ndarray], tiny_weights: dict[str, Path]
) -> None:
    Image.fromarray(np.pad(photos[0][:144, :192], ((32, 32), (48, 16), (0, 0)))).save(tmp_path / "framed.png")
    scanner = build_scanner(find_model(f"focal-hrnet@{tiny_weights['focal-hrnet']}"), device=CPU, jobs=0, amp=False)
    for plan, inside in ((scanner.plans[0], (56, 40, 238, 174)), (InputPlan("resize", 64), None)):
        (result,) = scan(find([tmp_path / "framed.png"]), replace(scanner, plans=(plan,)))
        assert isinstance(result, Assessed)
        assert result.features.inside == result.finding.inside == inside


def collage(first: np.ndarray, second: np.ndarray) -> Image.Image:
    """Two panels with a white gutter of eight pixels, in a black frame of 16."""
    gutter = np.full((len(first), 8, 3), 255, np.uint8)
    return Image.fromarray(np.pad(np.concatenate([first, gutter, second], axis=1), ((16, 16), (16, 16), (0, 0))))


@pytest.mark.parametrize("cluster", [None, "kmeans"])
def test_the_panels_of_a_collage_are_judged_as_pictures_of_their_own(
    tmp_path: Path, photos: list[np.ndarray], headed_model: str, cluster: str | None
) -> None:
    """The second is forged and the first is not: what is said of each, and how strong it is, is what is said of it alone."""
    first, second = photos[0][:160, :160], photos[1][:160, :160].copy()
    second[64:128, 64:128] = 255 - second[64:128, 64:128]
    collage(first, second).save(tmp_path / "a.png")
    boxes = (24, 24, 168, 174), (192, 24, 342, 174)
    whole = np.asarray(Image.open(tmp_path / "a.png"))
    for number, (left, top, right, bottom) in enumerate(boxes):
        Image.fromarray(whole[top:bottom, left:right]).save(tmp_path / f"b{number}.png")
    model = find_model(headed_model).with_clustering(cluster, None)
    scanner = build_scanner(model, device=CPU, batch=2, jobs=0, amp=False, everything=True)
    for results in (scan(find([tmp_path]), scanner), batch_by_batch(map(decode, find([tmp_path])), scanner)):
        together, *alone = results
        assert isinstance(together, Assessed)
        assert together.finding.panels == boxes
        assert together.features is together.clusters is None
        rest = np.ones_like(together.mask.forged)
        for one, (left, top, right, bottom) in zip(alone, boxes, strict=True):
            assert isinstance(one, Assessed)
            assert one.finding.panels == ()
            np.testing.assert_allclose(together.mask.probability[top:bottom, left:right], one.mask.probability, atol=1e-5)
            np.testing.assert_array_equal(together.mask.forged[top:bottom, left:right], one.mask.forged)
            rest[top:bottom, left:right] = False
        assert not together.mask.probability[rest].any()
        assert not together.mask.forged[rest].any()
        strengths = [region.strength for one in alone for region in one.finding.regions]
        assert sorted(region.strength for region in together.finding.regions) == pytest.approx(sorted(strengths), abs=1e-5)
        assert together.finding.score == pytest.approx(max(one.finding.score for one in alone), abs=1e-4)
    assert [source.name for source, _ in scanner.timings.forwarded].count("a.png") == 2, "once a run, whatever it has of panels"


def test_a_copy_in_another_panel_is_found(tmp_path: Path, photos: list[np.ndarray], headed_model: str) -> None:
    first, second = photos[0][:192, :192], photos[1][:192, :192].copy()
    second[64:144, 60:150] = first[40:120, 30:120]
    collage(first, second).save(tmp_path / "a.png")
    for name in ("copy-move", f"{headed_model}+copy-move"):
        scanner = build_scanner(find_model(name), device=CPU, jobs=0, amp=False)
        scanner = replace(scanner, localizing=replace(scanner.localizing, strength=0.99 if "+" in name else 0.0))
        for results in (scan(find([tmp_path]), scanner), batch_by_batch(map(decode, find([tmp_path])), scanner)):
            (one,) = results
            assert isinstance(one, Assessed)
            assert (len(one.finding.panels) == 2) == ("+" in name), "copies alone are looked for in the whole picture"
            boxes = [region.box for region in one.finding.regions if "copy" in region.evidence]
            assert any(box[2] < 210 for box in boxes)
            assert any(box[0] > 210 for box in boxes)


@pytest.mark.parametrize("name", ["ela", "copy-move", "adq"])
def test_detectors_do_not_see_a_frame_either(tmp_path: Path, photos: list[np.ndarray], name: str) -> None:
    within = photos[0][:256, :256].copy()
    within[160:240, 150:230] = within[20:100, 30:110]
    Image.fromarray(np.pad(within, ((32, 32), (48, 16), (0, 0)), constant_values=255)).save(tmp_path / "framed.png")
    Image.fromarray(within[8:-2, 8:-2]).save(tmp_path / "cut.png")
    alone, framed = scan(find([tmp_path]), build_scanner(find_model(name), device=CPU, jobs=0))
    assert isinstance(alone, Assessed)
    assert isinstance(framed, Assessed)
    np.testing.assert_array_equal(framed.mask.forged[40:286, 56:302], alone.mask.forged)
    assert framed.mask.forged.sum() == alone.mask.forged.sum()
    assert [one.strength for one in framed.finding.regions] == [one.strength for one in alone.finding.regions]
    assert alone.mask.forged.any() or name == "adq"


def test_a_detector_is_a_model(folder: Path) -> None:
    """Its score is the map, the half is the mask; it has no operating points."""
    scanner = build_scanner(find_model("noi1"), device=CPU, jobs=0)
    (result,) = scan(find([folder / "forged.png"]), scanner)
    assert isinstance(result, Assessed)
    np.testing.assert_allclose(result.mask.probability, DETECTORS["noi1"].score(result.picture.rgb), atol=1e-6)
    assert not (result.mask.forged & (result.mask.probability <= 0.5)).any()
    assert result.finding.level == "none"
    assert (result.finding.method, scanner.points) == ("mask head", ())


def test_a_detector_is_fused_with_a_network(folder: Path, tiny_model: str) -> None:
    one = tiny_model.split("+")[0]
    scanner = build_scanner(find_model(f"{one}+noi1"), device=CPU, jobs=0, amp=False)
    (result,) = scan(find([folder / "forged.png"]), scanner)
    assert isinstance(result, Assessed)
    assert result.features.vectors.shape[0] == 16 + 4, "a tiny network's 16 numbers and noi1's four"
    np.testing.assert_allclose(result.features.vectors.norm(dim=0), 1, atol=1e-5)
    halves = result.features.vectors[:16].norm(dim=0) ** 2
    np.testing.assert_allclose(halves, 0.5, atol=1e-5, err_msg="each part has the same say")
    assert result.finding.method != "mask head", "beside others all are judged by their features"


def test_examine_takes_decoded_pictures(folder: Path, tiny_model: str) -> None:
    pictures = [decode(source) for source in find([folder])]
    check_equal(list(scan(find([folder]), tiny_scanner(tiny_model))), list(examine(pictures, tiny_scanner(tiny_model))))


def method_of(folder: Path, text: str, cluster: str | None = None) -> tuple[str, Assessed]:
    model = find_model(text).with_clustering(cluster, None)
    (result,) = scan(find([folder / "forged.png"]), build_scanner(model, device=CPU, jobs=0, amp=False))
    assert isinstance(result, Assessed)
    return result.finding.method, result


def test_mask_heads_decide_together_and_clustering_on_request(folder: Path, headed_model: str) -> None:
    method, both = method_of(folder, headed_model)
    assert method == "mask head"
    assert both.features.vectors.shape[0] == 32, "features are there for --cluster and the store"
    parts = [method_of(folder, one)[1].mask.probability for one in headed_model.split("+")]
    assert (parts[0] != both.mask.probability).any()
    assert both.mask.probability.mean() == pytest.approx(np.mean(parts), abs=0.1)
    clustered, result = method_of(folder, headed_model, "kmeans")
    assert clustered == "kmeans"
    assert (result.mask.probability != both.mask.probability).any()


def test_the_way_of_a_gpu_hears_mask_heads_too(folder: Path, headed_model: str) -> None:
    alone = list(scan(find([folder]), tiny_scanner(headed_model)))
    check_equal(alone, list(batch_by_batch(map(decode, find([folder])), tiny_scanner(headed_model))))


def test_beside_one_without_a_head_all_are_clustered(folder: Path, headed_model: str, tiny_model: str) -> None:
    one = headed_model.split("+")[0]
    for other in ("noi1", tiny_model.split("+")[1]):
        assert method_of(folder, f"{one}+{other}")[0] != "mask head"


def test_a_head_that_is_not_there_cannot_be_asked_for(tiny_model: str) -> None:
    with pytest.raises(InputError, match=r"--cluster head: focal-hrnet@mine has no mask head; wanted one of hdbscan"):
        build_scanner(find_model(tiny_model).with_clustering("head", None), device=CPU)


def test_of_a_batch_only_what_memory_does_not_hold_is_skipped(
    folder: Path, tiny_model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also behind the network, where whole maps are made."""

    def conclude(picture: Picture, *rest: Any) -> Assessed:
        if picture.source.name == first.source.name:
            raise MemoryError
        return stages.conclude(picture, *rest)

    pictures = [one for one in map(decode, find([folder])) if isinstance(one, Picture)]
    first = pictures[0]
    monkeypatch.setattr("imgscan.batches.conclude", conclude)
    skipped, *others = batch_by_batch(iter(pictures), tiny_scanner(tiny_model, batch=4))
    assert isinstance(skipped, Skipped)
    assert "do not fit into memory" in skipped.reason
    assert others
    assert all(isinstance(one, Assessed) for one in others)
