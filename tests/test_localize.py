import math
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from imgscan.errors import InputError
from imgscan.localize import Area, LocalizeSettings, copies, enlarge, localize, localize_areas, placed, region_strength
from imgscan.records import Clusters, Features, Map, Part, Sought, Twins
from imgscan.segment import segment

FORGED = torch.tensor([0.6, 0.8, 0.0])  # cosine 0.6 to the pristine direction: distance (1 - 0.6) / 2 = 0.2
PRISTINE = torch.tensor([1.0, 0.0, 0.0])


CLUSTERS = Clusters(np.zeros((1, 1), np.int32), np.zeros((1, 1), bool), (1.0,), "mask head")


def scene(rows: int = 12, columns: int = 16) -> tuple[Features, Clusters]:
    labels = np.zeros((rows, columns), np.int32)
    labels[2:6, 3:9] = 1
    labels[9:11, 12:14] = 2
    vectors = torch.where(torch.from_numpy(labels > 0)[None], FORGED[:, None, None], PRISTINE[:, None, None])
    clusters = Clusters(labels, np.zeros_like(labels, bool), (1.0, 1.0, 1.0), "hdbscan")
    return Features(F.normalize(vectors, dim=0), (8.0, 8.0)), clusters


def test_boxes_areas_and_strengths() -> None:
    features, clusters = scene()
    mask = localize(features, clusters, 96, 128, LocalizeSettings())
    assert mask.forged.shape == mask.probability.shape == (96, 128)
    assert [region.box for region in mask.regions] in (
        [(24, 16, 72, 48), (96, 72, 112, 88)],
        [(96, 72, 112, 88), (24, 16, 72, 48)],
    )
    large = next(region for region in mask.regions if region.box[0] == 24)
    assert 48 * 32 * 0.95 < large.area <= 48 * 32  # bilinear rounds the corners off
    assert 0.15 < large.strength <= 0.2
    assert sum(region.area for region in mask.regions) == mask.forged.sum()


def test_clusters_are_as_strong_as_their_farthest_pixels_where_the_card_says_so() -> None:
    """In the regions of `scene` the distance is 0.2; at their edges, where bilinear mixes it with 0, less."""
    features, clusters = scene()
    whole = localize(features, clusters, 96, 128, LocalizeSettings()).regions
    some = localize(features, clusters, 96, 128, LocalizeSettings(peak=50 / (96 * 128))).regions
    most = localize(features, clusters, 96, 128, LocalizeSettings(peak=512 / (96 * 128))).regions
    assert [region.strength for region in some] == pytest.approx([0.2, 0.2], abs=1e-3), "50 pixels of the middle of each"
    large, small = most
    assert large.box == (24, 16, 72, 48)
    assert large.strength == pytest.approx(0.2, abs=1e-3)
    assert small.strength == pytest.approx(min(one.strength * one.area for one in whole) / 512), "what it lacks counts as 0"
    together = LocalizeSettings(peak=512 / (96 * 128), strength=0.19, together=True)
    assert localize(features, clusters, 96, 128, together).regions == most
    assert localize(features, clusters, 96, 128, replace(together, together=False)).regions == most[:1]


def test_a_card_may_put_clusters_on_the_scale_of_what_else_marks_regions() -> None:
    """Regions at a distance of 0.2: sigmoid(10 * 0.2 - 1) = 0.7311.  A mask head has its scale already."""
    features, clusters = scene()
    settings = LocalizeSettings(peak=50 / (96 * 128), platt=(10.0, -1.0))
    mask = localize(features, clusters, 96, 128, settings)
    assert [region.strength for region in mask.regions] == pytest.approx([0.7311, 0.7311], abs=1e-3)
    assert mask.strongest == pytest.approx(0.7311, abs=1e-3)
    assert mask.probability.max() == pytest.approx(0.2, abs=1e-3), "the map remains the distance"
    assert not localize(features, clusters, 96, 128, replace(settings, strength=0.74)).regions
    head = replace(features, probability=Map(torch.full((12, 16), 0.6), (8.0, 8.0)))
    assert [region.strength for region in localize(head, clusters, 96, 128, settings).regions] == pytest.approx([0.6])


def test_a_scale_does_not_overflow_and_has_two_numbers_of_which_the_first_rises() -> None:
    assert LocalizeSettings(platt=(1e6, -1e6)).scaled(0.0) == 0
    assert LocalizeSettings(platt=(1e6, 0.0)).scaled(1.0) == 1
    assert LocalizeSettings().scaled(0.3) == 0.3
    for wrong in ((1.0,), (0.0, 1.0), (-1.0, 0.0), (1.0, 2.0, 3.0)):
        with pytest.raises(InputError, match=r"platt is .* wanted two numbers"):
            LocalizeSettings(platt=wrong)


def test_what_tells_clusters_apart_in_the_control_counts_half_against_them() -> None:
    """Regions at a distance of 0.2.  In the control the first is at 0.1 (cosine 0.8) and the second at 0.5 (cosine 0)."""
    features, clusters = scene()
    control = torch.zeros_like(features.vectors)
    for label, cosine in enumerate((1.0, 0.8, 0.0)):
        where = torch.from_numpy(clusters.labels == label)
        control[:, where] = torch.tensor([cosine, math.sqrt(1 - cosine**2), 0.0])[:, None]
    few = LocalizeSettings(peak=50 / (96 * 128))
    plain, less = (localize(one, clusters, 96, 128, few) for one in (features, replace(features, control=control)))
    assert [region.strength for region in less.regions] == pytest.approx([0.2 - 0.1 / 2, 0], abs=1e-3)
    np.testing.assert_array_equal(less.probability, plain.probability)
    np.testing.assert_array_equal(less.forged, plain.forged)
    strong = localize(replace(features, control=control), clusters, 96, 128, replace(few, strength=0.14))
    assert [region.box for region in strong.regions] == [(24, 16, 72, 48)], "what is pictured there, and no trace, is not marked"


def test_probability_ranks_forged_over_pristine_even_when_nothing_is_marked() -> None:
    features, clusters = scene()
    mask = localize(features, clusters, 96, 128, LocalizeSettings(strength=0.9))
    assert not mask.forged.any()
    assert mask.regions == ()
    assert mask.probability[30, 50] > mask.probability[80, 10]


def test_each_area_is_judged_by_its_own_pixels() -> None:
    """A region of 64 pixels is 2 % of a panel of 64 x 50, and 0.1 % of the picture; what strengthens it is counted likewise."""

    def said(rows: int, columns: int) -> Area:
        values = torch.zeros(rows, columns)
        values[2:10, 4:12] = 0.9
        return Area(Features(torch.ones(1, rows, columns), (1.0, 1.0), Map(values, (1.0, 1.0))), CLUSTERS)

    settings = LocalizeSettings(smallest=0.01, peak=0.04)
    areas = [replace(said(64, 50), box=(8, 16, 58, 80)), replace(said(64, 60), box=(80, 100, 140, 164))]
    mask = localize_areas(areas, 200, 300, settings)
    assert [region.box for region in mask.regions] == [(12, 18, 20, 26), (84, 102, 92, 110)]
    assert [region.strength for region in mask.regions] == pytest.approx([0.9 * 64 / 128, 0.9 * 64 / 154])
    assert mask.forged.sum() == 128
    assert mask.probability.shape == (200, 300)
    assert not localize(said(200, 300).features, CLUSTERS, 200, 300, settings).regions


def test_a_copy_may_lie_in_another_area_than_its_source() -> None:
    areas = [
        Area(Features(torch.ones(1, 40, 40), (1.0, 1.0), Map(torch.full((40, 40), level), (1.0, 1.0))), CLUSTERS, (), box)
        for level, box in ((0.01, (0, 0, 40, 40)), (0.2, (50, 0, 90, 40)))
    ]
    square = np.ones((9, 9), bool)
    twins = Twins(0.9, (Part((slice(4, 13), slice(6, 15)), square), Part((slice(20, 29), slice(70, 79)), square)))
    mask = localize_areas(areas, 40, 90, LocalizeSettings(strength=0.8), [twins])
    assert [(region.box, region.twin) for region in mask.regions] == [((70, 20, 79, 29), (6, 4, 15, 13))], (
        "more suspect is the copy"
    )
    assert mask.sources is not None
    assert mask.sources[4:13, 6:15].all()


def test_the_mask_of_a_part_is_placed_in_the_whole() -> None:
    features, clusters = scene()
    square = np.ones((9, 9), bool)
    twins = Twins(0.9, (Part((slice(0, 9), slice(0, 9)), square), Part((slice(20, 29), slice(0, 9)), square)))
    odds = torch.ones(12, 16)  # the networks tell the copy, so that its source is shown
    odds[:2, :2] = 9
    headed = replace(features, probability=Map(torch.sigmoid(odds - 8), (8.0, 8.0)))
    part = localize(headed, clusters, 96, 128, LocalizeSettings(), Sought((twins,)))
    assert part.sources is not None
    whole = placed(part, (40, 16, 168, 112), 200, 300)
    for name in ("probability", "forged", "sources"):
        one, all_of_it = getattr(part, name), getattr(whole, name)
        assert all_of_it.shape == (200, 300)
        np.testing.assert_array_equal(all_of_it[16:112, 40:168], one)
        assert all_of_it.sum() == pytest.approx(one.sum())
    ((region,), (moved,)) = part.regions, whole.regions
    by = (40, 16, 40, 16)
    assert region.twin is not None
    assert moved == replace(region, box=tuple(np.add(region.box, by)), twin=tuple(np.add(region.twin, by)))
    assert (whole.strongest, whole.withheld) == (part.strongest, None)


def test_in_a_drawn_picture_nothing_is_marked_and_it_says_why() -> None:
    features, clusters = scene()
    whole = np.ones((9, 9), bool)
    twins = Twins(0.9, (Part((slice(0, 9), slice(0, 9)), whole), Part((slice(20, 29), slice(0, 9)), whole)))
    for found in (Sought(), Sought((twins,))):
        judged = localize(features, clusters, 96, 128, LocalizeSettings(drawn=0.2), found, drawn=0.19)
        withheld = localize(features, clusters, 96, 128, LocalizeSettings(drawn=0.2), found, drawn=0.2)
        assert judged.forged.any()
        assert judged.withheld is None
        assert (withheld.forged.any(), withheld.regions, withheld.strongest) == (False, (), 0.0)
        assert "drawn" in (withheld.withheld or "")
        np.testing.assert_array_equal(judged.probability, withheld.probability)
    for sure in (0.99, 1.0):  # cards that do not ask for it
        assert localize(features, clusters, 96, 128, LocalizeSettings(), drawn=sure).forged.any()


def test_one_cluster_is_nothing_forged() -> None:
    features, _ = scene()
    labels = np.zeros((12, 16), np.int32)
    mask = localize(features, Clusters(labels, labels > 0, (1.0,), "hdbscan"), 96, 128, LocalizeSettings())
    assert not mask.forged.any()


def test_small_regions_go() -> None:
    features, clusters = scene()
    mask = localize(features, clusters, 96, 128, LocalizeSettings(smallest=0.05))
    assert len(mask.regions) == 1


def test_clusters_over_most_of_the_picture_are_content() -> None:
    features, clusters = scene()
    share = float((clusters.labels > 0).mean())
    assert localize(features, clusters, 96, 128, LocalizeSettings(share=share)).regions
    assert not localize(features, clusters, 96, 128, LocalizeSettings(share=share - 0.01)).regions


@pytest.mark.parametrize(("height", "width"), [(96, 128), (93, 125), (100, 131)])
def test_cells_lie_where_they_were_whatever_the_padding(height: int, width: int) -> None:
    """12 x 16 cells of 8 pixels: the middle of cell (2, 3) is pixel (20, 28) whether the picture ends before or after the cells."""
    cells = torch.zeros(12, 16)
    cells[2, 3] = 1
    large = enlarge(cells, (8.0, 8.0), height, width)
    assert large.shape == (height, width)
    assert np.unravel_index(large.argmax(), large.shape) in [(y, x) for y in (19, 20) for x in (27, 28)]


def headed() -> tuple[Features, Clusters]:
    """One pixel a cell: a region of 40 pixels at 0.9, one of 30 at 0.6, and haze at 0.4."""
    values = torch.full((20, 20), 0.1)
    values[2:7, 2:10] = 0.9
    values[12:18, 3:8] = 0.6
    values[:, 15:] = 0.4
    features = Features(scene()[0].vectors, (20 / 12, 20 / 16), Map(values, (1.0, 1.0)))
    return features, segment(features)


def test_a_mask_head_marks_from_its_threshold_on() -> None:
    features, clusters = headed()
    for threshold, areas in ((0.5, [40, 30]), (0.7, [40]), (0.3, [40, 30, 100])):
        mask = localize(features, clusters, 20, 20, LocalizeSettings(threshold=threshold))
        assert [region.area for region in mask.regions] == areas
        assert segment(features, threshold).labels.any()


def test_what_just_has_the_threshold_is_not_marked() -> None:
    features, clusters = suspecting(20, 20, (0.75, (2, 2, 6, 6)))
    assert not localize(features, clusters, 20, 20, LocalizeSettings(threshold=0.75)).forged.any()
    assert localize(features, clusters, 20, 20, LocalizeSettings(threshold=0.74)).forged.sum() == 36


def test_weaker_regions_go_or_stay_together_with_a_strong_one() -> None:
    features, clusters = headed()
    alone = localize(features, clusters, 20, 20, LocalizeSettings(strength=0.8))
    together = localize(features, clusters, 20, 20, LocalizeSettings(strength=0.8, together=True))
    assert [region.area for region in alone.regions] == [40]
    assert [region.area for region in together.regions] == [40, 30]
    nothing = localize(features, clusters, 20, 20, LocalizeSettings(strength=0.95, together=True))
    assert not nothing.forged.any()
    assert nothing.strongest == alone.strongest == alone.regions[0].strength, "what is too weak to be marked is known all the same"


def doubted() -> tuple[Features, Clusters]:
    """`headed`, of whose first region a control leaves 12 pixels at 0.7 and 4 at 0.5, and nothing of the second."""
    features, clusters = headed()
    values = torch.full((20, 20), 0.05)
    values[3:6, 3:7] = 0.7
    values[3:7, 9] = 0.5
    return replace(features, verdict=Map(values, (1.0, 1.0))), clusters


def test_the_verdict_says_whether_and_the_probability_how_far() -> None:
    features, clusters = doubted()
    mask = localize(features, clusters, 20, 20, LocalizeSettings(threshold=0.45, strength=0.6, together=True))
    assert [(region.area, round(region.strength, 4)) for region in mask.regions] == [(40, 0.7)]
    assert mask.strongest == pytest.approx(0.7)
    np.testing.assert_allclose(mask.probability, headed()[0].probability.values)  # type: ignore[union-attr]
    nothing = localize(features, clusters, 20, 20, LocalizeSettings(threshold=0.45, strength=0.71, together=True))
    assert not nothing.forged.any()
    assert nothing.strongest == pytest.approx(0.7)


def test_a_verdict_too_small_to_count_marks_nothing() -> None:
    """Of the first region 12 pixels of 400 are left, which is less than a twentieth."""
    features, clusters = doubted()
    mask = localize(features, clusters, 20, 20, LocalizeSettings(threshold=0.45, smallest=0.05))
    assert not mask.forged.any()
    assert mask.strongest == 0


def test_strength_by_hand() -> None:
    values = np.array([0.9, 0.3, 0.6, 0.8], np.float32)
    assert region_strength(values, 0) == pytest.approx(0.65)
    assert region_strength(values, 2) == pytest.approx(0.85)
    assert region_strength(values, 8) == pytest.approx(2.6 / 8), "what is missing to eight pixels counts as 0"


def test_the_peak_of_a_region_is_a_share_of_the_picture() -> None:
    """A tenth of 400 pixels is as many as the first region has; the second has 30 of 40."""
    features, clusters = headed()
    mask = localize(features, clusters, 20, 20, LocalizeSettings(peak=0.1))
    assert [region.strength for region in mask.regions] == pytest.approx([0.9, 0.6 * 30 / 40])
    few = localize(*suspecting(10, 10, (0.9, (1, 1, 7, 8))), 10, 10, LocalizeSettings(peak=0.57))  # as floats 56.999... pixels
    assert [region.strength for region in few.regions] == pytest.approx([0.9 * 56 / 57])


def suspecting(
    height: int, width: int, *parts: tuple[float, tuple[int, int, int, int]], ground: float = 0.1
) -> tuple[Features, Clusters]:
    """A network that gives parts (top, left, height, width) their probability, and the rest `ground`."""
    probability = np.full((height, width), ground, np.float32)
    for value, (top, left, high, wide) in parts:
        probability[top : top + high, left : left + wide] = value
    return flat(probability)


def twins(score: float, *boxes: tuple[int, int, int, int]) -> Twins:
    """Two equal rectangles: top, left, height, width."""
    one, other = (Part((slice(y, y + h), slice(x, x + w)), np.ones((h, w), bool)) for y, x, h, w in boxes)
    return Twins(score, (one, other))


def flat(probability: np.ndarray) -> tuple[Features, Clusters]:
    """A head's map of a cell a pixel."""
    features = Features(torch.ones(1, *probability.shape), (1.0, 1.0), Map(torch.from_numpy(probability), (1.0, 1.0)))
    return features, segment(features)


def test_what_was_found_only_adds() -> None:
    """A network's region of 100 pixels of 0.9, a weaker one of 0.6, and small twins elsewhere."""
    features, clusters = suspecting(40, 60, (0.9, (5, 5, 10, 10)), (0.6, (5, 40, 10, 10)))
    settings = LocalizeSettings(peak=100 / 2400, strength=0.8)
    plain = localize(features, clusters, 40, 60, settings)
    assert [region.strength for region in plain.regions] == pytest.approx([0.9])
    mask = localize(features, clusters, 40, 60, settings, Sought((twins(0.95, (30, 10, 4, 4), (30, 40, 4, 4)),)))
    assert [region.strength for region in mask.regions] == pytest.approx([0.95, 0.95, 0.9]), "small, and yet as strong as it is"
    assert [region.area for region in mask.regions] == [16, 16, 100], "what was found does not vouch for what the network doubts"
    assert mask.probability[31, 41] == pytest.approx(0.95)
    assert mask.probability[20, 20] == pytest.approx(0.1)
    unsure = localize(features, clusters, 40, 60, settings, Sought((twins(0.79, (30, 10, 4, 4), (30, 40, 4, 4)),)))
    assert unsure.regions == plain.regions
    assert unsure.probability[31, 41] == pytest.approx(0.79)
    pairs = Sought((twins(0.95, (30, 10, 4, 4), (30, 40, 4, 4)), twins(0.7, (20, 10, 4, 4), (20, 40, 4, 4))))
    both = localize(features, clusters, 40, 60, replace(settings, together=True), pairs)
    assert {region.box[1] for region in both.regions} == {5, 30}, "nor does one copy vouch for another"


@pytest.mark.parametrize(("strongest", "score", "seen"), [(0.9, 0.85, False), (0.9, 0.79, True), (0.96, 0.85, True)])
def test_beside_a_copy_the_network_has_to_be_surer(strongest: float, score: float, seen: bool) -> None:
    """0.9 counts from 0.8 on, but from 0.95 on where a copy of 0.8 or more is marked; then the weaker region is marked with it."""
    features, clusters = suspecting(40, 60, (strongest, (5, 5, 10, 10)), (0.6, (5, 40, 10, 10)))
    settings = LocalizeSettings(strength=0.8, beside=0.95, together=True)
    mask = localize(features, clusters, 40, 60, settings, Sought((twins(score, (30, 10, 4, 4), (30, 40, 4, 4)),)))
    boxes = {region.box for region in mask.regions}
    assert ((5, 5, 15, 15) in boxes) == ((40, 5, 50, 15) in boxes) == seen
    assert ((10, 30, 14, 34) in boxes) == (score > 0.8)
    assert mask.strongest == pytest.approx(max(strongest, score)), "the picture is as suspect as before"


def test_what_touches_is_one_region() -> None:
    features, clusters = suspecting(40, 60, (0.9, (5, 5, 10, 10)))
    mask = localize(
        features, clusters, 40, 60, LocalizeSettings(strength=0.8), Sought((twins(0.95, (10, 10, 10, 10), (30, 40, 9, 9)),))
    )
    assert [(region.area, region.strength) for region in mask.regions] == [(175, pytest.approx(0.95)), (81, pytest.approx(0.95))]


def test_what_a_weaker_copy_covers_stays_as_strong_as_it_is() -> None:
    features, clusters = suspecting(40, 60, (0.95, (11, 11, 8, 8)))
    found = Sought((twins(0.85, (10, 10, 10, 10), (25, 40, 10, 10)),))
    mask = localize(features, clusters, 40, 60, LocalizeSettings(strength=0.8), found)
    assert [region.strength for region in mask.regions if region.box == (10, 10, 20, 20)] == pytest.approx([0.95])


@pytest.mark.parametrize(("suspected", "source_too"), [(0.1, True), (0.35, True), (0.365, False), (0.9, False)])
def test_the_copy_is_the_one_that_the_network_suspects(suspected: float, source_too: bool) -> None:
    """Odds of 0.1 are 1 : 9; five times as many are 5 : 9, a probability of 5 / 14 = 0.357."""
    probability = np.full((40, 60), 0.1, np.float32)
    probability[30:34, 40:44] = suspected
    found = copies([twins(0.95, (30, 10, 4, 4), (30, 40, 4, 4))], probability)
    source, copy = (slice(30, 34), slice(10, 14)), (slice(30, 34), slice(40, 44))
    wanted = [(source, copy, 0.95)] * source_too + [(copy, source, 0.95)]
    assert [(one.part.box, one.twin.box, one.score) for one in found] == wanted


def test_what_was_found_beside_clusters_is_marked() -> None:
    features, clusters = scene()
    found = Sought((twins(0.8, (70, 5, 20, 20), (70, 40, 20, 20)), twins(0.4, (5, 100, 10, 10), (5, 115, 10, 10))))
    mask = localize(features, clusters, 96, 128, LocalizeSettings(), found)
    assert {region.box for region in mask.regions if region.strength > 0.5} == {(5, 70, 25, 90), (40, 70, 60, 90)}
    assert len(mask.regions) == 4, "what is less sure than 1/2 is not"


def test_a_region_says_what_it_equals() -> None:
    """The network sees the first part of the second pair too, and doubts its twin: that is outlined as a source and no region."""
    features, clusters = suspecting(40, 60, (0.95, (5, 5, 10, 10)))
    found = Sought((twins(0.9, (30, 10, 4, 4), (30, 40, 4, 4)), twins(0.9, (5, 5, 10, 10), (5, 40, 10, 10))))
    mask = localize(features, clusters, 40, 60, LocalizeSettings(strength=0.8), found)
    said = {region.box: (region.evidence, region.twin) for region in mask.regions}
    assert said == {
        (5, 5, 15, 15): (("pixels", "copy"), (40, 5, 50, 15)),
        (10, 30, 14, 34): (("copy",), (40, 30, 44, 34)),
        (40, 30, 44, 34): (("copy",), (10, 30, 14, 34)),
    }
    assert mask.sources is not None
    assert mask.sources.sum() == 100
    assert mask.sources[5:15, 40:50].all()


@pytest.mark.parametrize(("width", "shown"), [(5, True), (6, False)])
def test_a_source_is_shown_unless_most_of_it_is_marked_itself(width: int, shown: bool) -> None:
    """The networks tell the copy; a region of theirs covers so many of the ten columns of its source, where they are less sure."""
    features, clusters = suspecting(40, 60, (0.99, (5, 5, 10, 10)), (0.9, (5, 40, 10, width)), ground=0.05)
    found = Sought((twins(0.9, (5, 5, 10, 10), (5, 40, 10, 10)),))
    mask = localize(features, clusters, 40, 60, LocalizeSettings(strength=0.8), found)
    assert mask.forged[5:15, 40:50].sum() == 10 * width
    assert (mask.sources is not None) == shown


def test_specks_do_not_move_what_a_region_equals() -> None:
    """Both of two equal parts are marked but for a speck of each: the box is the large piece's, only the specks are sources."""
    inside = np.zeros((10, 30), bool)
    inside[:10, :10] = inside[2:4, 25:27] = True
    parts = tuple(Part((slice(5, 15), slice(x, x + 30)), inside) for x in (0, 45))
    features, clusters = flat(np.full((40, 80), 0.1, np.float32))
    settings = LocalizeSettings(strength=0.8, smallest=10 / 3200)
    mask = localize(features, clusters, 40, 80, settings, Sought((Twins(0.9, (parts[0], parts[1])),)))
    assert {region.box: region.twin for region in mask.regions} == {
        (0, 5, 10, 15): (45, 5, 55, 15),
        (45, 5, 55, 15): (0, 5, 10, 15),
    }
    assert mask.sources is not None
    assert {tuple(map(int, one)) for one in np.argwhere(mask.sources)} == {(y, x) for y in (7, 8) for x in (25, 26, 70, 71)}


def test_what_is_there_twice_is_marked_however_small() -> None:
    """25 of 3,200 pixels are less than a hundredth: too few for a network's region, and not for a copy, but for its specks."""
    inside = np.zeros((5, 9), bool)
    inside[:, :5] = inside[2, 7] = True
    parts = tuple(Part((slice(5, 10), slice(x, x + 9)), inside) for x in (10, 50))
    features, clusters = suspecting(40, 80, (0.95, (25, 10, 5, 5)))
    settings = LocalizeSettings(strength=0.8, smallest=0.01)
    mask = localize(features, clusters, 40, 80, settings, Sought((Twins(0.9, (parts[0], parts[1])),)))
    assert {region.box for region in mask.regions} == {(10, 5, 15, 10), (50, 5, 55, 10)}
    assert mask.forged.sum() == 50
    assert mask.strongest == pytest.approx(0.9)
    unsure = localize(features, clusters, 40, 80, settings, Sought((Twins(0.45, (parts[0], parts[1])),)))
    assert (unsure.regions, unsure.strongest) == ((), 0.0)


def test_without_copies_there_is_no_source() -> None:
    features, clusters = scene()
    mask = localize(features, clusters, 96, 128, LocalizeSettings())
    assert mask.sources is None
    assert {(region.evidence, region.twin) for region in mask.regions} == {(("pixels",), None)}
    alone = localize(features, clusters, 96, 128, LocalizeSettings(), speaks="jpeg")
    assert {region.evidence for region in alone.regions} == {("jpeg",)}


def odds(values: np.ndarray) -> Sought:
    """Log odds of blocks of 8 x 8 pixels."""
    return Sought(odds=(Map(torch.from_numpy(values.astype(np.float32)), (8.0, 8.0)),))


def test_log_odds_are_added_to_those_of_a_mask_head() -> None:
    """Log odds of 1/5 are -ln 4; with ln 4 + ln 9 they are ln 9, a probability of 9/10; with -ln 4 they are 1 : 16."""
    features, clusters = flat(np.full((40, 64), 0.2, np.float32))
    blocks = np.full((5, 8), -math.log(4))
    blocks[1:4, 1:4] = math.log(4) + math.log(9)
    mask = localize(features, clusters, 40, 64, LocalizeSettings(strength=0.5), odds(blocks))
    assert mask.probability[20, 20] == pytest.approx(0.9, abs=1e-5)
    assert mask.probability[20, 60] == pytest.approx(1 / 17, abs=1e-5)
    assert [region.box for region in mask.regions] == [(8, 8, 32, 32)], "half-way between the blocks it is below one half"
    assert mask.regions[0].evidence == ("jpeg",), "1/5 of a network is no evidence"
    silent = localize(features, clusters, 40, 64, LocalizeSettings(strength=0.5), odds(np.zeros((5, 8))))
    assert silent.probability == pytest.approx(0.2)


def test_a_head_that_is_all_but_sure_can_be_talked_out_of_it() -> None:
    """999 : 1 and -ln 999 are 1 : 1; whoever is surer than 9,999 : 1 counts as that sure."""
    for said, against, left in ((0.999, 999, 0.5), (0.99999, 9_999, 0.5), (0.00001, 1 / 9_999, 0.5)):
        features, clusters = flat(np.full((40, 64), said, np.float32))
        mask = localize(features, clusters, 40, 64, LocalizeSettings(), odds(np.full((5, 8), -math.log(against))))
        assert mask.probability == pytest.approx(left, abs=1e-3)


def test_blocks_may_start_late() -> None:
    """A picture cropped by 5 rows and 2 columns: the block that says something lies at rows 3 to 10, columns 6 to 13."""
    features, clusters = flat(np.full((40, 64), 0.2, np.float32))
    blocks = np.zeros((4, 7), np.float32)
    blocks[0, 0] = 6
    found = Sought(odds=(Map(torch.from_numpy(blocks), (8.0, 8.0), (3, 6)),))
    probability = localize(features, clusters, 40, 64, LocalizeSettings(strength=0.5), found).probability
    assert probability[:7, :10] == pytest.approx(1 / (1 + 4 * math.exp(-6)), abs=1e-3), "and what lies before, as its neighbour"
    assert probability[7, 18:] == pytest.approx(0.2)
    assert probability[:, 63] == pytest.approx(0.2), "beyond the last block, as that one"


def test_several_things_may_speak_for_a_region() -> None:
    """0.6 of a network, some nats of its blocks; where the network says 0.4 its word would not do."""
    features, clusters = suspecting(40, 64, (0.6, (8, 8, 24, 24)), (0.4, (8, 40, 24, 24)), ground=0.05)
    blocks = np.full((5, 8), -2.0)
    blocks[1:4, 1:4] = blocks[1:4, 5:8] = 4.0
    mask = localize(features, clusters, 40, 64, LocalizeSettings(strength=0.5), odds(blocks))
    assert {region.box[0]: region.evidence for region in mask.regions} == {8: ("pixels", "jpeg"), 40: ("jpeg",)}


def test_log_odds_beside_clusters_only_add() -> None:
    features, clusters = scene()
    plain = localize(features, clusters, 96, 128, LocalizeSettings())
    blocks = np.full((12, 16), -6.0)
    blocks[9:11, 1:4] = 6.0
    mask = localize(features, clusters, 96, 128, LocalizeSettings(), odds(blocks))
    assert mask.probability[76, 16] == pytest.approx(1 / (1 + math.exp(-6)), abs=1e-4)
    assert (mask.probability >= plain.probability).all()
    np.testing.assert_array_equal(mask.probability[:64], plain.probability[:64], "what speaks against it takes and adds nothing")
    assert mask.forged[plain.forged].all()
    assert mask.forged[76, 16]
    added = {region.box for region in mask.regions} - {region.box for region in plain.regions}
    assert {region.evidence for region in mask.regions if region.box in added} == {("jpeg",)}
    assert {region.evidence for region in mask.regions if region.box not in added} == {("pixels",)}
    blocks[:] = 6.0
    everywhere = localize(features, clusters, 96, 128, LocalizeSettings(), odds(blocks))
    assert everywhere.regions[0].evidence == ("pixels", "jpeg"), "clusters mark without a high score"


def test_a_region_of_just_the_smallest_size_is_marked() -> None:
    features, clusters = headed()
    assert [one.area for one in localize(features, clusters, 20, 20, LocalizeSettings(smallest=30 / 400)).regions] == [40, 30]
    assert [one.area for one in localize(features, clusters, 20, 20, LocalizeSettings(smallest=31 / 400)).regions] == [40]


@pytest.mark.parametrize(
    ("blocks", "others", "said"), [(1, 0.0, ("pixels",)), (2, 0.0, ("pixels", "jpeg")), (3, -0.8, ("pixels",))]
)
def test_the_jpeg_history_of_a_tenth_of_a_region_speaks_for_it(blocks: int, others: float, said: tuple[str, ...]) -> None:
    """Of 25 blocks one has gained some nats, or two: with what lies half-way to their neighbours 6 % of the pixels, or 12 %.

    It does not where the region has lost more than it gained.
    """
    features, clusters = suspecting(56, 64, (0.9, (8, 8, 40, 40)), ground=0.05)
    values = np.full((7, 8), others)
    values[3, 3 : 3 + blocks] = 4.0
    mask = localize(features, clusters, 56, 64, LocalizeSettings(strength=0.5), odds(values))
    assert [region.evidence for region in mask.regions] == [said]


@pytest.mark.parametrize(("left", "said"), [(18, ("pixels",)), (16, ("pixels", "copy"))])
def test_a_copy_speaks_for_a_region_that_holds_most_of_it(left: int, said: tuple[str, ...]) -> None:
    """A copy too weak to be marked itself, of 4 columns, reaches into a region that ends at column 19."""
    features, clusters = suspecting(40, 60, (0.95, (5, 9, 10, 10)))
    found = Sought((twins(0.6, (8, left, 4, 4), (30, 40, 4, 4)),))
    mask = localize(features, clusters, 40, 60, LocalizeSettings(strength=0.8), found)
    assert [(region.box, region.evidence) for region in mask.regions] == [((9, 5, 19, 15), said)]


def test_a_region_equals_what_its_largest_copy_equals() -> None:
    """A network's region holds parts of two pairs; the smaller is named first."""
    features, clusters = suspecting(60, 90, (0.95, (5, 5, 20, 20)))
    found = Sought((twins(0.9, (6, 6, 4, 4), (40, 10, 4, 4)), twins(0.9, (12, 6, 8, 8), (40, 50, 8, 8))))
    mask = localize(features, clusters, 60, 90, LocalizeSettings(strength=0.8), found)
    assert {region.box: region.twin for region in mask.regions}[5, 5, 25, 25] == (50, 40, 58, 48)
