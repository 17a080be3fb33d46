"""A network as SVG: its units, its weights as edges, the scale, and what is seen in words."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence
from html import escape
from itertools import pairwise

from glassnet.cells import counted
from glassnet.drawing.layout import MARGIN, NAME_SIZE, SMALL_SIZE, Plan, bias_text, planned
from glassnet.errors import UsageError
from glassnet.network import Network, Parameters
from glassnet.svg import cleaned, line, scope_of, shortened, significant, style, text, text_width


def _drawn_edges(plan: Plan) -> Iterator[str]:
    """The lines, the strongest of each layer last, so that it lies on top; then the printed weights."""
    if plan.lit:
        yield from _quiet_edges(plan)
        return
    if plan.parameters is None:
        for edge in plan.edges:
            yield line(edge.start, edge.end, 1, "gn-neutral", f' data-symbol="{edge.symbol}"') + "/>"
        return
    weakest_first = sorted(
        zip(plan.edges, plan.values, strict=True),
        key=lambda edge: (edge[0].layer, abs(edge[1]) if math.isfinite(edge[1]) else 0),
    )
    for edge, value in weakest_first:
        more = f' data-symbol="{edge.symbol}"'
        if value == 0 or not math.isfinite(value):  # no width to show: dashed, so that the connection is seen
            width, kind = 0.8, "gn-neutral"
            more += ' stroke-dasharray="2 4"'
        else:
            width, kind = (
                max(plan.widest * abs(value) / plan.largest, 0.35),
                _by_sign(value, "gn-positive", "gn-negative"),
            )
        in_full = plan.parameters.weights[edge.layer - 1][edge.source, edge.target]
        yield line(edge.start, edge.end, width, kind, more) + f"><title>{edge.symbol} = {in_full!s}</title></line>"
    for value, box in zip(plan.values, plan.labels, strict=False):
        x, y, width, height = (
            box.x - box.half_width,
            box.y - box.half_height + 1,
            2 * box.half_width,
            2 * box.half_height - 2,
        )
        yield f'<rect class="gn-paper" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" rx="4"/>'
        kind = _by_sign(value, "gn-above", "gn-below", "gn-muted")
        yield text(box.x, box.y + 0.36 * plan.text_size, significant(value), size=plan.text_size, kind=kind)


def _quiet_edges(plan: Plan) -> Iterator[str]:
    """All lines alike but the lit ones, which lie on top; a single one has its name printed."""
    values: Sequence[float | None] = plan.values or [None] * len(plan.edges)
    for edge in plan.edges:
        if edge.symbol not in plan.lit:
            yield line(edge.start, edge.end, 1, "gn-neutral", f' data-symbol="{edge.symbol}"') + "/>"
    for edge, value in zip(plan.edges, values, strict=True):
        if edge.symbol in plan.lit:
            told = "" if value is None else f" = {value!s}"
            more = f' data-symbol="{edge.symbol}"><title>{edge.symbol}{told}</title></line>'
            yield line(edge.start, edge.end, plan.widest * 0.7, "gn-lit", more)
    lit = [edge for edge in plan.edges if edge.symbol in plan.lit]
    if len(lit) == 1:
        (x, y), size = lit[0].at(0.5), plan.text_size + 1
        half = text_width(lit[0].symbol, size) / 2
        yield f'<rect class="gn-paper" x="{x - half:.1f}" y="{y - 9:.1f}" width="{2 * half:.1f}" height="18" rx="4"/>'
        yield text(x, y + 0.36 * size, lit[0].symbol, size=size, kind="gn-lit")


def _drawn_units(plan: Plan) -> Iterator[str]:
    """The circles with their numbers, biases and names; below each column what it computes."""
    for number, layer in enumerate(plan.layers):
        for unit, y in layer.heights.items():
            tooltip = f"unit {unit + 1} of layer {number}" if number else f"input {unit + 1}"
            kind = "gn-unit gn-lit" if f"z{number}_{unit + 1}" in plan.lit else "gn-unit"
            if number and plan.parameters is not None:
                bias = plan.parameters.biases[number - 1][unit]
                tooltip += f": b{number}_{unit + 1} = {bias!s}"
                if f"b{number}_{unit + 1}" in plan.lit:
                    above = y - plan.radius - 7
                    yield text(layer.x, above, f"b{number}_{unit + 1}", size=plan.text_size + 1, kind="gn-lit")
                elif plan.small and not plan.lit:
                    sign = _by_sign(bias, "gn-above", "gn-below", "gn-muted")
                    above = y - plan.radius - 7
                    yield text(layer.x, above, bias_text(bias), size=plan.text_size, kind=sign)
            label = str(unit + 1)
            circle = f'<circle cx="{layer.x:.1f}" cy="{y:.1f}" r="{plan.radius:g}" class="{kind}"/>'
            yield (
                f"<g><title>{tooltip}</title>{circle}"
                + text(layer.x, y + 4, label, size=min(11.0, 2.3 * plan.radius / len(label)))
                + "</g>"
            )
            if number == 0:
                yield _name(layer.x - plan.names_away, y, plan.inputs[unit], "end")
            if number == plan.network.n_layers:
                yield _name(layer.x + plan.names_away, y, plan.outputs[unit], "start")
        if layer.ellipsis is not None:
            yield text(layer.x, layer.ellipsis + 6, "⋮", size=20, kind="gn-muted")
        below = plan.bottom + plan.radius + 26
        yield text(layer.x, below, plan.computed[number], size=NAME_SIZE)
        yield text(layer.x, below + 17, _layer_size(plan, number), size=SMALL_SIZE, kind="gn-muted")


def _layer_size(plan: Plan, number: int) -> str:
    size = plan.network.sizes[number]
    return f"layer {number} · {counted(size, 'unit')}" if number else counted(size, "feature")


def _legend(plan: Plan, y: float) -> tuple[list[str], float, float]:
    """The scale and what is to be known, from y on: the elements, the rightmost x and the lowest y."""
    elements: list[str] = []
    right = MARGIN
    n_weights = sum(n_in * n_out for n_in, n_out in pairwise(plan.network.sizes))
    if plan.lit:
        lines = [f"of {len(plan.edges):,} of {n_weights:,} weights"] if len(plan.edges) < n_weights else []
    elif plan.parameters is None:
        lines = [f"{counted(n_weights, 'weight')}, values not given: lines show connections only"]
    else:
        samples = [("gn-positive", 4.0, "weight above 0"), ("gn-negative", 4.0, "below 0")]
        if plan.largest > 0:
            samples += [
                ("gn-scale", plan.widest * value / plan.largest, f"|w| = {value:g}")
                for value in _round_scale(plan.largest)
            ]
        for kind, width, words in samples:
            elements.append(line((right, y - 4), (right + 26, y - 4), width, kind) + "/>")
            elements.append(text(right + 34, y, words, size=SMALL_SIZE, anchor="start"))
            right += 34 + text_width(words, SMALL_SIZE) + 14
        y += 20
        lines = [f"largest |w| {significant(plan.largest)}, width in proportion"]
        if len(plan.edges) < n_weights:
            of_these = f"the largest |w| of these {significant(plan.largest)}, width in proportion"
            lines = [f"{len(plan.edges):,} of {n_weights:,} weights drawn; {of_these}"]
        n_broken = sum(not math.isfinite(value) for value in plan.values)
        if n_broken:
            lines.append(f"{counted(n_broken, 'weight')} not finite, dashed")
    for words in lines:
        elements.append(text(MARGIN, y, words, size=SMALL_SIZE, anchor="start", kind="gn-muted"))
        right = max(right, MARGIN + text_width(words, SMALL_SIZE))
        y += 20
    return elements, right, y - 20


def _description(plan: Plan) -> str:
    """What is seen, for those who do not see it."""
    network = plan.network
    inputs, outputs = (
        ", ".join(names[unit] for unit in layer.heights)
        + (f" and more, {len(names):,} in all" if layer.ellipsis else "")
        for names, layer in ((plan.inputs, plan.layers[0]), (plan.outputs, plan.layers[-1]))
    )
    sentences = [f"Dense network with {counted(network.n_parameters, 'parameter')}, loss {network.loss}."]
    sentences.append(f"Inputs: {inputs}.")
    for number in range(1, network.n_layers + 1):
        sentences.append(f"Layer {number}: {counted(network.sizes[number], 'unit')}, {plan.computed[number]}.")
    sentences.append(f"Outputs: {outputs}.")
    if plan.small and plan.parameters is not None:
        pairs = zip(network.parameter_names(), plan.parameters.vector, strict=True)
        sentences.append(", ".join(f"{name} = {significant(value)}" for name, value in pairs) + ".")
    return " ".join(sentences)


def _by_sign(value: float, above: str, below: str, neither: str = "") -> str:
    return above if value > 0 else below if value < 0 else neither


def _name(x: float, y: float, name: str, anchor: str) -> str:
    short = shortened(name)
    return text(x, y + 4.5, short, size=NAME_SIZE, anchor=anchor, title=name if short != name else "")


def _round_scale(largest: float) -> tuple[float, float]:
    """A round number (1, 2 or 5 times a power of ten) up to `largest`, and half of it."""
    power = 10.0 ** math.floor(math.log10(largest))
    top = max(step * power for step in (1, 2, 5) if step * power <= largest or step == 1)
    return top / 2, top


def _checked_names(what: str, names: Sequence[str] | None, n: int, default: str) -> list[str]:
    if names is None:
        return [f"{default}{unit}" for unit in range(1, n + 1)]
    if isinstance(names, str) or len(names) != n:
        given = repr(names) if isinstance(names, str) else str(len(names))
        raise UsageError(f"{what} is a list with a name for every unit, {n} here; got {given}.")
    return [cleaned(name) for name in names]


def _checked_lit(network: Network, lit: Collection[str]) -> frozenset[str]:
    units = {f"z{layer}_{unit}" for layer, size in enumerate(network.sizes) for unit in range(1, size + 1) if layer}
    for symbol in sorted(set(lit) - units - set(network.parameter_names() if lit else ())):
        raise UsageError(f"lit holds a network's weights w1_1_1, biases b1_1 and units z1_1; got {symbol!r}.")
    return frozenset(lit)


def _check_parameters(network: Network, parameters: Parameters | None) -> None:
    if parameters is None:
        return
    if parameters.network.sizes != network.sizes:
        raise UsageError(
            f"The parameters belong to a network of the same sizes, {network.sizes}; got {parameters.network.sizes}."
        )
    if parameters.vector.ndim != 1:
        raise UsageError(
            f"One network is drawn at a time; got a stack of shape {parameters.vector.shape[:-1]}. "
            "Hand in one of them, Parameters(network, vector[start])."
        )


def network_svg(
    network: Network,
    parameters: Parameters | None = None,
    *,
    feature_names: Sequence[str] | None = None,
    output_names: Sequence[str] | None = None,
    lit: Collection[str] = (),
) -> str:
    """The network as a standalone SVG: a column of units per layer, an edge per weight.

    An edge's hue is its weight's sign, its width proportional to the weight's magnitude, on one scale for the whole
    network; the scale is printed below. Up to 30 weights are printed on their edges and the biases above their
    units. A layer of more than 12 units shows the first 10 and the last. Every drawn edge carries its symbol in
    `data-symbol` (`w1_2_1` runs from input 2 to unit 1 of layer 1) and its weight at full precision as a tooltip.
    Without `parameters` all edges are alike and no value is drawn. The text can be a file of its own or be put
    into a page, twice even: it has no ids and its rules apply to itself alone; it follows light and dark mode.

    `feature_names` (n_features), `output_names` (n_outputs): any text; long names are shortened, whole as tooltip.
    `lit`: what shall stand out, weights `w1_2_1`, biases `b1_1`, units by their `z1_1`; all else is drawn quietly.
    Raises `UsageError` for the wrong number of names, for parameters of another network or of several, or for a
    symbol in `lit` that the network has not.

    >>> svg = network_svg(Network((2, 2, 1)), feature_names=["texture", "radius"], output_names=["P(malignant)"])
    >>> svg.count("data-symbol"), "<title>Network 2-2-1</title>" in svg
    (6, True)
    """
    _check_parameters(network, parameters)
    inputs = _checked_names("feature_names", feature_names, network.n_features, "x")
    outputs = _checked_names("output_names", output_names, network.n_outputs, "output ")
    plan = planned(network, parameters, inputs, outputs, _checked_lit(network, lit))
    legend, right, bottom = _legend(plan, plan.bottom + plan.radius + 74)
    last = plan.layers[-1]
    names_end = max(text_width(shortened(plan.outputs[unit]), NAME_SIZE) for unit in last.heights)
    captions = (plan.computed[-1], NAME_SIZE), (_layer_size(plan, network.n_layers), SMALL_SIZE)
    captions_end = max(text_width(text, size) for text, size in captions) / 2
    width = math.ceil(max(right, last.x + plan.names_away + names_end, last.x + captions_end) + MARGIN)
    height = math.ceil(bottom + MARGIN)

    title = f"Network {'-'.join(map(str, network.sizes))}"
    if lit:
        title += f", {', '.join(sorted(lit))} lit" if len(lit) <= 4 else f", {len(lit)} of its parts lit"
    content = "\n".join(
        (
            f"<title>{title}</title><desc>{escape(_description(plan), quote=False)}</desc>",
            f'<rect class="gn-paper" width="{width}" height="{height}" rx="8"/>',
            *_drawn_edges(plan),
            *_drawn_units(plan),
            *legend,
        )
    )
    scope = scope_of(content)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="{title}" class="{scope}" '
        f'viewBox="0 0 {width} {height}" width="{width}" height="{height}" style="max-width:100%;height:auto">'
        f"<style>{style(scope, lit=bool(lit))}</style>{content}</svg>\n"
    )
