"""The map of a network of two columns as SVG: every region with its equation, and the exact decision boundary."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from html import escape

import numpy as np
from numpy.typing import ArrayLike

from glassnet.cells import counted
from glassnet.errors import UsageError
from glassnet.piecewise import Floats
from glassnet.regions import Region, Regions
from glassnet.svg import cleaned, line, scope_of, shortened, significant, style, text, text_width

# Two classes are orange and blue as everywhere; further ones are the rest of Okabe and Ito's palette.
_COLOURS = ("#d55e00", "#0072b2", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8a7f00")
_WIDTH, _LEFT, _TOP, _ACROSS, _UP = 720, 84.0, 20.0, 616.0, 400.0  # pixels
_NUMBERED = 12  # regions with a number in the map and an equation below it, the largest
_SMALLEST = 0.002  # of the rectangle: what is smaller has no room for a number


def regions_svg(regions: Regions, *, points: ArrayLike | None = None) -> str:
    """The map as a standalone SVG: what is decided where, the regions' borders, the exact boundary.

    The largest regions are numbered, and their equations stand below; pointing at any region shows its own. Of several
    classes the equation is that of the one that leads in the region's middle; every one is in `regions`. `points` (n,
    2), in the columns' units, are marked. The text can be a file of its own or be put into a page: it has no ids and
    its rules apply to itself alone; it follows light and dark mode.

    Raises `UsageError` for points that are not finite (n, 2).

    >>> import numpy as np
    >>> region = Region(np.array([[0.0, 0.0], [2.0, 0.0], [2.0, 1.0]]), np.zeros(1), np.array([[1.0], [-1.0]]), ((1,),))
    >>> regions = Regions(("a", "b"), np.zeros(2), np.array([2.0, 1.0]), ("y",), (), (region,), (), ())
    >>> svg = regions_svg(regions)
    >>> "<title>Region 1: y = 0 + 1 a − 1 b</title>" in svg, svg.count("<polygon")
    (True, 1)
    """
    marked = np.zeros((0, 2)) if points is None else np.asarray(points, dtype=np.float64)
    if marked.ndim != 2 or marked.shape[1] != 2 or not np.isfinite(marked).all():
        raise UsageError(f"The points are finite numbers (n, 2); got shape {marked.shape}.")
    plan = _Plan(regions)
    ordered = sorted(regions.regions, key=lambda region: -region.area)
    whole = float(np.prod(regions.high - regions.low))
    numbered = [region for region in ordered[:_NUMBERED] if region.area > _SMALLEST * whole]
    below, height = _below(regions, numbered)
    content = "\n".join(
        (
            f"<title>{_title(regions)}</title><desc>{escape(_description(regions, numbered), quote=False)}</desc>",
            f'<rect class="gn-paper" width="{_WIDTH}" height="{height}" rx="8"/>',
            *_sides(plan),
            *_borders(plan, ordered),
            *_boundary(plan),
            *_axes(plan),
            *_points(plan, marked),
            *_numbers(plan, numbered),
            *below,
        )
    )
    scope = scope_of(content)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="{_title(regions)}" class="{scope}" '
        f'viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}" style="max-width:100%;height:auto">'
        f"<style>{style(scope)}{_rules(scope)}</style>{content}</svg>\n"
    )


class _Plan:
    """Where the columns' units lie on the paper."""

    def __init__(self, regions: Regions) -> None:
        self.regions = regions

    def at(self, points: Floats) -> Floats:
        """(..., 2) in the columns' units -> pixels; the second column rises."""
        share = (points - self.regions.low) / (self.regions.high - self.regions.low)
        return np.stack([_LEFT + _ACROSS * share[..., 0], _TOP + _UP * (1 - share[..., 1])], axis=-1)

    def corners(self, points: Floats) -> str:
        """A polygon's `points`."""
        return " ".join(f"{x:.2f},{y:.2f}" for x, y in self.at(points))


def _title(regions: Regions) -> str:
    return f"Regions and {'decision boundary' if regions.classes else 'equations'} of a network of two columns"


def _rules(scope: str) -> str:
    sides = "".join(
        f".{scope} .gn-side{k}{{fill:{colour};stroke:{colour};fill-opacity:.2;stroke-opacity:.2;stroke-width:.5px}}"
        for k, colour in enumerate(_COLOURS)
    )

    def rules(ink: str, edge: str) -> str:
        return (
            f".{scope} .gn-region{{stroke:{edge}}}.{scope} .gn-boundary,.{scope} .gn-frame{{stroke:{ink}}}"
            f".{scope} .gn-mark{{stroke:{ink}}}"
        )

    return (
        f".{scope} .gn-region{{fill:transparent;stroke-width:1px;stroke-linejoin:round}}"
        f".{scope} .gn-region:hover{{stroke-width:2.5px}}"
        f".{scope} .gn-boundary{{stroke-width:3px;stroke-linecap:round}}.{scope} .gn-frame{{fill:none}}"
        f".{scope} .gn-mark{{fill:none;stroke-width:2px}}"
        f"{sides}{rules('#1b1f24', '#5d6670')}"
        f"@media (prefers-color-scheme:dark){{{rules('#e8ebee', '#a3adb8')}}}"
    )


def _colour(k: int) -> int:
    return k % len(_COLOURS)


def _sides(plan: _Plan) -> Iterator[str]:
    for corners, k in plan.regions.sides:
        yield f'<path class="gn-side{_colour(k)}" d="M{plan.corners(corners)}Z"/>'


def _borders(plan: _Plan, ordered: Sequence[Region]) -> Iterator[str]:
    for number, region in enumerate(ordered, start=1):
        said = escape(f"Region {number}: {_equation(plan.regions, region)}", quote=False)
        yield f'<polygon class="gn-region" points="{plan.corners(region.corners)}"><title>{said}</title></polygon>'


def _boundary(plan: _Plan) -> Iterator[str]:
    for segment in plan.regions.boundary:
        (x0, y0), (x1, y1) = plan.at(segment).tolist()
        yield line((x0, y0), (x1, y1), 3, "gn-boundary") + "/>"


def _axes(plan: _Plan) -> Iterator[str]:
    """A frame, round numbers on both sides and the columns' names."""
    low, high = plan.regions.low, plan.regions.high
    yield f'<rect class="gn-frame" x="{_LEFT}" y="{_TOP}" width="{_ACROSS}" height="{_UP}"/>'
    for axis in (0, 1):
        for value in _round_numbers(float(low[axis]), float(high[axis])):
            place = np.array(low)
            place[axis] = value
            x, y = plan.at(place).tolist()
            if axis == 0:
                yield line((x, _TOP + _UP), (x, _TOP + _UP + 5), 1, "gn-frame") + "/>"
                yield text(x, _TOP + _UP + 18, _tick(value), size=11, kind="gn-muted")
            else:
                yield line((_LEFT - 5, y), (_LEFT, y), 1, "gn-frame") + "/>"
                yield text(_LEFT - 9, y + 4, _tick(value), size=11, anchor="end", kind="gn-muted")
    first, second = (cleaned(name) for name in plan.regions.columns)
    yield text(_LEFT + _ACROSS / 2, _TOP + _UP + 40, shortened(first, 60), size=13, title=first)
    upright = text(0, 0, shortened(second, 40), size=13, title=second)
    yield f'<g transform="translate(20 {_TOP + _UP / 2:g}) rotate(-90)">{upright}</g>'


def _round_numbers(low: float, high: float) -> list[float]:
    """Five or so round numbers from low to high."""
    rough = (high - low) / 5
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(part * power for part in (1, 2, 5, 10) if part * power >= rough * (1 - 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [i * step for i in range(first, last + 1)]


def _tick(value: float) -> str:
    return f"{value:.10g}".replace("-", "−")


def _points(plan: _Plan, points: Floats) -> Iterator[str]:
    inside = ((points >= plan.regions.low) & (points <= plan.regions.high)).all(axis=1)
    for point, (x, y) in zip(points[inside].tolist(), plan.at(points[inside]).tolist(), strict=True):
        said = ", ".join(significant(value, 4) for value in point)
        yield f'<circle class="gn-mark" cx="{x:.1f}" cy="{y:.1f}" r="5"><title>{said}</title></circle>'


def _numbers(plan: _Plan, numbered: Sequence[Region]) -> Iterator[str]:
    for number, region in enumerate(numbered, start=1):
        x, y = _centre(plan.at(region.corners)).tolist()
        yield text(x, y + 5, str(number), size=14)


def _centre(corners: Floats) -> Floats:
    """The centre of gravity of a convex polygon."""
    from_first = corners - corners[0]
    x, y = from_first.T
    cross = x[:-1] * y[1:] - x[1:] * y[:-1]
    thirds = (from_first[:-1] + from_first[1:]) / 3
    return np.asarray(corners[0] + (cross[:, np.newaxis] * thirds).sum(axis=0) / cross.sum())


def _below(regions: Regions, numbered: Sequence[Region]) -> tuple[list[str], int]:
    """The legend and the equations under the map, and how high the picture becomes."""
    elements: list[str] = []
    x, y = _LEFT, _TOP + _UP + 66
    present = sorted({k for _, k in regions.sides})
    for k in present:
        name = shortened(cleaned(regions.classes[k]))
        width = 26 + text_width(name, 11) + 16
        if x + width > _WIDTH - 16:
            x, y = _LEFT, y + 20
        elements.append(f'<rect class="gn-side{_colour(k)}" x="{x:.1f}" y="{y - 10:.1f}" width="18" height="12"/>')
        elements.append(text(x + 24, y, name, size=11, anchor="start"))
        x += width
    said = [("gn-region", 1.0, "border of a region")]
    if regions.boundary:
        said.insert(0, ("gn-boundary", 3.0, "decision boundary"))
    for kind, thick, words in said:
        width = 34 + text_width(words, 11) + 16
        if x + width > _WIDTH - 16:
            x, y = _LEFT, y + 20
        elements.append(line((x, y - 4), (x + 26, y - 4), thick, kind) + "/>")
        elements.append(text(x + 34, y, words, size=11, anchor="start"))
        x += width
    y += 30
    for number, region in enumerate(numbered, start=1):
        equation = _equation(regions, region)
        elements.append(text(_LEFT, y, str(number), size=12, anchor="end"))
        elements.append(text(_LEFT + 10, y, shortened(equation, 86), size=12, anchor="start", title=equation))
        y += 19
    left = len(regions.regions) - len(numbered)
    if left:
        what = f"{counted(left, 'smaller region')}, each with its equation where one points at it"
        elements.append(text(_LEFT + 10, y, what, size=11, anchor="start", kind="gn-muted"))
        y += 19
    return elements, math.ceil(y + 2)


def _equation(regions: Regions, region: Region) -> str:
    """The region's equation; of several classes that of the one that leads in its middle."""
    output = int(region.outputs(_centre(region.corners)).argmax())
    return cleaned(regions.equation(region, output=output)).replace(" -", " −")


def _description(regions: Regions, numbered: Sequence[Region]) -> str:
    """What is seen, for those who do not see it."""
    ranges = " and ".join(
        f"{cleaned(name)} from {significant(low)} to {significant(high)}"
        for name, low, high in zip(regions.columns, regions.low, regions.high, strict=True)
    )
    sentences = [
        f"Over {ranges} the network has {counted(len(regions.regions), 'region')}, each with a linear equation."
    ]
    for number, region in enumerate(numbered, start=1):
        sentences.append(f"Region {number}: {_equation(regions, region)}.")
    if regions.classes and regions.boundary:
        sentences.append(f"The decision boundary is {counted(len(regions.boundary), 'straight segment')}.")
    elif regions.classes:
        decided = " and ".join(cleaned(regions.classes[k]) for k in sorted({k for _, k in regions.sides}))
        sentences.append(f"No boundary lies in it: {decided} is decided everywhere.")
    return " ".join(sentences)
