"""The minimum spanning tree of the mutual reachability distance, exact, on the tensor engine and in bounded memory.

Campello, Moulavi, Sander, "Density-Based Clustering Based on Hierarchical Density Estimates", PAKDD 2013, Definition 5: with
core(a) the distance from a to its k-th neighbour,

    reach(a, b) = max(d(a, b), core(a), core(b))

One pass of blocked matrix products finds the nearest neighbours of every point, and with them the core distances.  Boruvka's
algorithm (1926) then grows the tree: every component takes its cheapest edge to the outside, which by the cut property belongs to
a minimum spanning tree.  What makes it fast is that the lists of neighbours answer nearly all of these questions: a point whose
list ends at distance r knows that every edge that is not in the list costs at least r.  Only where no list can answer, and never
for the largest component (the others come to it), are distances computed again, from those few points to the points outside of
their component.  On features of pictures that is a fraction of one further pass.

Candidates are found by matrix products, which lose the digits of small distances.  Everything that reaches the tree, core distances
and the weights of its edges, is computed again from the differences of coordinates: duplicates are at distance 0.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

Edges = npt.NDArray[np.float64]

BLOCK_BYTES = {"cpu": 128 << 20, "cuda": 2 << 30}  # of distances at a time
CACHE_BYTES = {"cpu": 4 << 20}  # of what is gone through several times: on a CPU it should stay in the cache
MOST_ROWS = 512  # of a block: more are no faster
FEWEST = 8  # neighbours in a list beside those the core distance needs: longer lists answer more and cost little


def spanning_tree(points: torch.Tensor, neighbours: int, block_bytes: int | None = None) -> Edges:
    """N - 1 edges (a, b, reach(a, b)) in the order of their weights.

    Args:
        points: N x D float32, finite, on any device; N > neighbours.
        neighbours: k >= 1, the core distance is that to the k-th neighbour, a point itself not counted.
        block_bytes: of distances held at a time; None: as the device likes it.

    Returns:
        (N - 1) x 3 float64.
    """
    count = len(points)
    budget = block_bytes or BLOCK_BYTES.get(points.device.type, 256 << 20)
    # In a drawn order: cells of a picture come by rows, and a search for the smallest is slow where they keep getting smaller.
    order = torch.randperm(count, generator=torch.Generator().manual_seed(0))
    points = points[order.to(points.device)]
    points -= points.mean(0)  # near the origin, |a|^2 + |b|^2 - 2 a b cancels least
    lists = _Lists(points, neighbours, budget)
    component = np.arange(count)
    edges: list[Edges] = []
    while True:
        found = lists.cheapest(component)
        open_ones = np.unique(component).size > 1
        if not open_ones:
            break
        if not len(found):
            lists.search(component)
            continue
        component, taken = _joined(component, found)
        edges.append(taken)
    tree = np.concatenate(edges) if edges else np.zeros((0, 3))
    tree[:, :2] = order.numpy()[tree[:, :2].astype(np.intp)]
    return tree[np.argsort(tree[:, 2], kind="stable")]


class _Lists:
    """What every point knows of its neighbourhood.

    Attributes:
        near: N x K, the nearest neighbours by falling nearness, itself not among them (int64, numpy).
        reach: N x K float64, the mutual reachability to each.
        core: N float64.
        least: N float64, no edge that is not in the list costs less.
        beyond: N int64, the end of the cheapest edge that a search found outside the list, -1: none yet; it costs `beyond_reach`.
    """

    def __init__(self, points: torch.Tensor, neighbours: int, budget: int) -> None:
        self.points, self.budget = points, budget
        self.squares = (points * points).sum(1)
        count = len(points)
        length = min(count - 1, neighbours + FEWEST)
        near, ends = _nearest(points, self.squares, length, budget)
        distance = _exact(points, torch.arange(count, device=points.device)[:, None].expand_as(near), near, budget)
        order = distance.argsort(dim=1, stable=True)
        distance, near = distance.gather(1, order), near.gather(1, order)
        core = distance[:, neighbours - 1]
        self.near = near.cpu().numpy()
        self.core = core.cpu().numpy()
        self.reach = torch.maximum(torch.maximum(distance, core[:, None]), core[near]).cpu().numpy()
        self.least = np.where(length == count - 1, np.inf, np.maximum(ends.double().cpu().numpy(), self.core))
        self.beyond = np.full(count, -1)
        self.beyond_reach = np.full(count, np.inf)

    def cheapest(self, component: npt.NDArray[np.intp]) -> Edges:
        """The cheapest edge out of every component that the lists are sure of, M x 3 (a, b, weight)."""
        count = len(component)
        reach = np.where(component[self.near] != component[:, None], self.reach, np.inf)
        best = reach.argmin(1)
        weight, other = reach[np.arange(count), best], self.near[np.arange(count), best]
        searched = (self.beyond >= 0) & (component[self.beyond] != component) & (self.beyond_reach < weight)
        weight, other = np.where(searched, self.beyond_reach, weight), np.where(searched, self.beyond, other)
        order = np.lexsort((weight, component))
        first = order[np.r_[True, component[order][1:] != component[order][:-1]]]  # of each component, its cheapest
        floor = np.full(count, np.inf)
        np.minimum.at(floor, component, self.least)
        sure = np.isfinite(weight[first]) & (weight[first] <= floor[component[first]])
        first = first[sure]
        return np.stack([first.astype(np.float64), other[first].astype(np.float64), weight[first]], axis=1)

    def search(self, component: npt.NDArray[np.intp]) -> None:
        """Compute the distances that the lists leave open, for all components but the largest."""
        count = len(component)
        reach = np.where(component[self.near] != component[:, None], self.reach, np.inf).min(1)
        outside = (self.beyond >= 0) & (component[self.beyond] != component)
        known = np.minimum(reach, np.where(outside, self.beyond_reach, np.inf))
        best = np.full(count, np.inf)
        np.minimum.at(best, component, known)
        largest = np.bincount(component).argmax()
        asking = (component != largest) & (self.least < best[component])
        # Points of one component side by side: what is outside of it is then two slices.
        order = np.lexsort((~asking, component))
        sizes = np.bincount(component)
        starts = np.concatenate([[0], np.cumsum(sizes)])
        device = self.points.device
        places = torch.from_numpy(order).to(device)
        points, squares = self.points[places], self.squares[places]
        core = torch.from_numpy(self.core.astype(np.float32)).to(device)[places]
        asks = asking[order]
        for one in np.unique(component[asking]):
            first, last = int(starts[one]), int(starts[one + 1])
            rows = int(asks[first:last].sum())  # they stand first in their component
            step = min(rows, MOST_ROWS)
            for top in range(first, first + rows, step):
                part = slice(top, min(top + step, first + rows))
                other = self._outside(points, squares, core, part, first, last)
                asked = order[part]
                self.beyond[asked] = order[other]
                self.beyond_reach[asked] = self._weights(asked, self.beyond[asked])
                self.least[asked] = np.maximum(self.least[asked], self.beyond_reach[asked])

    def _outside(
        self, points: torch.Tensor, squares: torch.Tensor, core: torch.Tensor, part: slice, first: int, last: int
    ) -> npt.NDArray[np.intp]:
        """Where the cheapest edge from each point of `part` to any before `first` or from `last` on ends."""
        rows = points[part]
        weight = torch.full((len(rows),), torch.inf, device=points.device)
        other = torch.zeros(len(rows), dtype=torch.int64, device=points.device)
        step = max(1, _cached(self.budget, points.device) // (4 * len(rows)))
        for start, stop in ((0, first), (last, len(points))):
            for left in range(start, stop, step):
                columns = slice(left, min(left + step, stop))
                block = torch.addmm(squares[None, columns], rows, points[columns].T, alpha=-2)
                block.add_(squares[part, None]).clamp_(min=0).sqrt_()
                torch.maximum(block, core[None, columns], out=block)
                least, place = block.min(1)
                better = least < weight
                weight = torch.where(better, least, weight)
                other = torch.where(better, place + left, other)
        ends: npt.NDArray[np.intp] = other.cpu().numpy()  # the point's own core distance changes no order
        return ends

    def _weights(self, some: npt.NDArray[np.intp], others: npt.NDArray[np.intp]) -> Edges:
        device = self.points.device
        a, b = (torch.from_numpy(np.ascontiguousarray(one)).to(device)[:, None] for one in (some, others))
        distance = _exact(self.points, a, b, self.budget)[:, 0].cpu().numpy()
        weights: Edges = np.maximum(np.maximum(distance, self.core[some]), self.core[others])
        return weights


def _cached(budget: int, device: torch.device) -> int:
    """Bytes to go through at a time, where they are read several times."""
    return min(budget, CACHE_BYTES.get(device.type, budget))


def _nearest(points: torch.Tensor, squares: torch.Tensor, length: int, budget: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The `length` nearest neighbours of every point, N x length int64, and how far the last of them is, N float32."""
    count = len(points)
    near = torch.empty(count, length, dtype=torch.int64, device=points.device)
    ends = torch.empty(count, device=points.device)
    rows = max(1, min(count, MOST_ROWS if points.device.type == "cpu" else count, budget // (4 * count)))
    memory = torch.empty(rows, count, device=points.device)  # fresh pages would cost more than the arithmetic
    for top in range(0, count, rows):
        part = slice(top, min(top + rows, count))
        block = memory[: part.stop - top]
        # Without |row|^2, which changes no order within a row
        torch.addmm(squares[None, :].expand_as(block), points[part], points.T, alpha=-2, out=block)
        block.diagonal(top).fill_(torch.inf)
        found = block.topk(length, dim=1, largest=False)
        near[part] = found.indices
        ends[part] = (found.values[:, -1] + squares[part]).clamp_(min=0).sqrt_()
    return near, ends


def _exact(points: torch.Tensor, some: torch.Tensor, others: torch.Tensor, budget: int) -> torch.Tensor:
    """Distances between points by their numbers, N x K float64, from the differences of coordinates."""
    rows = max(1, _cached(budget, points.device) // (4 * points.shape[1] * max(1, some.shape[1])))
    parts = []
    for top in range(0, len(some), rows):
        part = slice(top, top + rows)
        parts.append((points[some[part]] - points[others[part]]).square_().sum(-1).double().sqrt_())
    return torch.cat(parts)


def _joined(component: npt.NDArray[np.intp], edges: Edges) -> tuple[npt.NDArray[np.intp], Edges]:
    """Components after joining along edges, and the edges that joined two; where weights tie, edges may close a circle."""
    parent = list(range(int(component.max()) + 1))

    def root(one: int) -> int:
        while parent[one] != one:
            parent[one] = parent[parent[one]]
            one = parent[one]
        return one

    taken = np.zeros(len(edges), bool)
    ends = component[edges[:, :2].astype(np.intp)]
    for number in np.argsort(edges[:, 2], kind="stable"):
        a, b = root(int(ends[number, 0])), root(int(ends[number, 1]))
        if a != b:
            parent[b] = a
            taken[number] = True
    roots = np.array([root(one) for one in range(len(parent))])
    _, renamed = np.unique(roots[component], return_inverse=True)
    return renamed, edges[taken]
