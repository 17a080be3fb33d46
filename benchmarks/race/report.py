"""The race told: Markdown tables and a picture, both made of nothing but what engine.json holds."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from typing import Any

PEERS = ("numpy", "scikit-learn", "torch", "keras", "jax")


def duration(seconds: float | None) -> str:
    """Three digits and a unit; "-" for what was not measured."""
    if seconds is None:
        return "-"
    for unit, name in ((1, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns")):
        if seconds >= 0.9995 * unit:
            return f"{seconds / unit:.3g} {name}" if seconds < 999.5 * unit else f"{seconds / unit:,.0f} {name}"
    return f"{seconds / 1e-9:.3g} ns"


def times(value: float) -> str:
    """A ratio with three digits, or all before the point."""
    return f"{value:,.0f}" if value >= 99.95 else f"{value:.3g}"


def verdict(met: bool | None) -> str:
    return "-" if met is None else "met" if met else "**missed**"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    return lines + ["| " + " | ".join(row) + " |" for row in rows] + [""]


def machine_line(result: dict[str, Any]) -> str:
    machine = result["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items() if version)
    return f"{machine['processor']}, {machine['cores']} cores, {machine['system']}; {versions}"


def missing(result: dict[str, Any]) -> list[str]:
    return [name for name in PEERS if result["machine"]["versions"][name] is None]


def requirements(result: dict[str, Any]) -> list[tuple[str, str, str, bool]]:
    """What is required of glassnet: of what, measured, required, met. A peer counts by its quickest line."""
    found: list[tuple[str, str, str, bool]] = []
    for job, done in result["jobs"].items():
        for race in done["races"]:
            name = f"{job}, {race['dtype']}"
            lines = [line for line in race["lines"] if line["floor"] is not None and not line["missing"]]
            for peer in dict.fromkeys(line["peer"] for line in lines):
                line = min((x for x in lines if x["peer"] == peer), key=lambda line: line["ratio"]["median"])
                what = f"{line['title']}, {threads(line)}"
                found.append((f"{name}: {what}", interval(line["ratio"]), f">= {line['floor']:,} x", line["met"]))
            roof = race["roofline"]
            if roof["floor"]:
                what = (f"{name}: the roofline", f"{times(roof['times'])} x", f"<= {roof['floor']} x", roof["met"])
                found.append(what)
            found += [limited(entry | {"what": f"{name}: {entry['what']}"}) for entry in race.get("required", ())]
            ours, limits = race["lines"][0], result["first_fit"]
            found += [
                (f"{name}: first fit, {state}", duration(ours[state]), f"<= {limits[state]} s", ours[state] <= most)
                for state, most in limits.items()
                if ours[state] is not None
            ]
    for entry in result.get("growth", {}).get("required", ()):
        found.append(limited(entry))
    return found


def limited(entry: dict[str, Any]) -> tuple[str, str, str, bool]:
    unit = entry["unit"]
    return entry["what"], f"{times(entry['value'])}{unit}", f"<= {entry['most']:.4g}{unit}", entry["met"]


def interval(ratio: dict[str, float]) -> str:
    return f"{times(ratio['median'])} x ({times(ratio['low'])} to {times(ratio['high'])})"


def threads(line: dict[str, Any]) -> str:
    return f"{line['threads']} thread" + "s" * (line["threads"] > 1)


def markdown(result: dict[str, Any]) -> str:
    wanted = requirements(result)
    n_missed = sum(not met for *_, met in wanted)
    lines = [
        "# The race",
        "",
        machine_line(result) + ".",
        f"Peak of one core, measured: {', '.join(peak(*item) for item in result['peaks'].items())}.",
        f"The {result['pace']} race took {duration(result['seconds'])}.",
        "",
    ]
    if lacking := missing(result):
        lines += [f"**Missing, not installed: {', '.join(lacking)}. A table to publish lacks no one.**", ""]
    lines += [f"**{name} was left out: {reason}**\n" for name, reason in result.get("left_out", {}).items()]
    if wanted:
        lines += [f"## What is required: {len(wanted) - n_missed} met, {n_missed} missed", ""]
        rows = [(what, value, limit, verdict(met)) for what, value, limit, met in wanted]
        lines += table(("job", "measured", "required", ""), rows)
        lines += ["A peer counts by its quickest line. Ratios: median over rounds (2.5 % to 97.5 % of bootstrap).", ""]
    for job, done in result["jobs"].items():
        for race in done["races"]:
            lines += race_lines(job, race)
    if "growth" in result:
        lines += growth_lines(result["growth"])
    if "grid" in result:
        lines += grid_lines(result["grid"])
    return "\n".join(lines)


def peak(dtype: str, rates: dict[str, float]) -> str:
    return f"{dtype} {rates['flops'] / 1e9:.0f} Gflop/s and {rates['transcendentals'] / 1e9:.2f} G exp/s"


def race_lines(job: str, race: dict[str, Any]) -> list[str]:
    lines = [f"## {job}: {race['title']}, {race['dtype']}", ""]
    rows = []
    for line in race["lines"]:
        name = f"{line['title']}, {threads(line)}"
        if line["missing"]:
            rows.append((name, "not installed", *["-"] * 6))
            continue
        cold, warm = (
            f"{duration(line[state])} ({duration(line[f'{state}_with_imports'])})" if line[state] else "-"
            for state in ("cold", "warm")
        )
        ratio = "1" if line["ratio"] is None else interval(line["ratio"])
        floor = "-" if line["floor"] is None else f"{line['floor']:,} x, {verdict(line['met'])}"
        difference = "-"
        if line["difference"] is not None:
            difference = f"{line['difference']:.1e}"
            if race["networks"] > 1:
                difference += f" ({line['usual_difference']:.1e})"
        rows.append((name, cold, warm, duration(line["steady"]), ratio, floor, difference))
    largest = "largest difference of a loss" + (" (of 99 networks in 100)" if race["networks"] > 1 else "")
    head = ("", "cold (with imports)", "warm cache (with imports)", "steady", "times glassnet's", "floor", largest)
    lines += table(head, rows)
    whole, alone = race["roofline"]["with losses"], race["roofline"]["updates alone"]
    each = ""
    if race["networks"] > 1:
        each = f" glassnet takes {duration(race['lines'][0]['steady'] / race['networks'])} for a network."
    said = (
        f"{race['rounds']} rounds; the loss ends at {race['final_loss']:.4f}.{each} Roofline: "
        f"{whole['flops'] / 1e6:.2f} Mflop and {whole['transcendentals']:,.0f} exp and log for each network, "
        f"{duration(whole['seconds'])} in all: glassnet is at {whole['share']:.1%} of it. The updates alone, "
        f"without any loss: {duration(alone['seconds'])}, {alone['share']:.1%}; their floating-point "
        f"operations are {alone['flops_share']:.1%} of what the peak allows in glassnet's time."
    )
    return [*lines, said, ""]


def growth_lines(growth: dict[str, Any]) -> list[str]:
    lines = [f"## Growth: {growth['title']}", ""]
    memory = growth["memory"]
    rows = [
        (f"{int(n):,}", duration(seconds), f"{memory[n]:.2f} x" if n in memory else "-")
        for n, seconds in growth["rows"].items()
    ]
    lines += table(("rows", "time per row and epoch, 1 thread", "peak memory over the data's size"), rows)
    rows = [(f"{int(n):,}", duration(seconds)) for n, seconds in growth["networks"].items()]
    return lines + table(("networks", "time per network, 2 threads"), rows)


def grid_lines(grid: dict[str, Any]) -> list[str]:
    rows = [
        (name, ", ".join(map(duration, seconds)), f"{grid['accuracy'][name]:.3f}")
        for name, seconds in grid["samples"].items()
    ]
    return [
        f"## {grid['title']}",
        "",
        *table(("", "a fresh process each, imports apart", "accuracy, median of the shapes"), rows),
        f"scikit-learn takes {interval(grid['ratio'])} as long as glassnet.",
        "",
    ]


# --- the picture --------------------------------------------------------------------------------------------------

OURS, THEIRS, FAINT = "#c2410c", "#94a3b8", "#475569"


def panels(result: dict[str, Any]) -> list[tuple[str, bool, list[tuple[str, float, str, bool]]]]:
    """Title, whether it is a race, and bars: label, length, what is written at its end, whether it is glassnet's."""
    found = []
    for job, done in result["jobs"].items():
        for race in done["races"]:
            bars = []
            for line in race["lines"]:
                if line["missing"]:
                    continue
                text = duration(line["steady"])
                if line["ratio"]:
                    text += f"   {times(line['ratio']['median'])} x"
                bars.append((f"{line['title']}, {threads(line)}", line["steady"], text, line["peer"] == "glassnet"))
            bars.sort(key=lambda bar: bar[1])
            found.append((f"{job}: {race['title']}, {race['dtype']}", True, bars))
    if "growth" in result:
        growth = result["growth"]
        bars = [(f"{int(n):,} rows", value, duration(value), True) for n, value in growth["rows"].items()]
        found.append(("Growth: time per row and epoch", False, bars))
        bars = [(f"{int(n):,} networks", value, duration(value), True) for n, value in growth["networks"].items()]
        found.append(("Growth: time per network", False, bars))
    if "grid" in result:
        bars = []
        for name, seconds in result["grid"]["samples"].items():
            middle = sorted(seconds)[len(seconds) // 2]
            bars.append((name, middle, duration(middle), name == "glassnet"))
        found.append((result["grid"]["title"], False, bars))
    return found


def plot(result: dict[str, Any]) -> Any:
    """Horizontal bars, a panel for each job and dtype; races, which span decades, on logarithmic axes."""
    from matplotlib.figure import Figure

    shown = panels(result)
    across = min(2, len(shown))
    rows = [shown[at : at + across] for at in range(0, len(shown), across)]
    heights = [1 + 0.27 * max(len(bars) for _, _, bars in row) for row in rows]
    figure = Figure(figsize=(8 * across, sum(heights) + 0.9), layout="constrained")
    axes = figure.subplots(len(rows), across, squeeze=False, height_ratios=heights).flat
    for ax in axes[len(shown) :]:
        ax.set_axis_off()
    for number, (title, is_race, bars) in enumerate(shown):
        ax = axes[number]
        lengths = [bar[1] for bar in bars]
        ax.barh(range(len(bars)), lengths, color=[OURS if bar[3] else THEIRS for bar in bars], height=0.72)
        for place, (_, length, text, _) in enumerate(bars):
            ax.annotate(text, (length, place), (4, 0), textcoords="offset points", va="center", fontsize=8.5)
        low, high = min(lengths), max(lengths)
        ax.set_xlim(0, high * 1.3)
        if is_race:
            # A bar on a logarithmic axis begins anywhere: at a whole power of ten, with room for what is written.
            begin = 10.0 ** math.floor(math.log10(low / 1.5))
            ax.set_xlim(begin, high * (high / begin) ** 0.3)
            ax.set_xscale("log")
            ax.xaxis.set_minor_formatter("")
        ax.xaxis.set_major_formatter(lambda seconds, _: duration(seconds) if seconds else "0")
        ax.set_yticks(range(len(bars)), [bar[0] for bar in bars], fontsize=9)
        # As many places as the fullest of the row has, so that bars are equally thick.
        ax.set_ylim(max(len(bars) for _, _, bars in rows[number // across]) - 0.4, -0.6)
        ax.set_title(textwrap.fill(title, 60), loc="left", fontsize=10, fontweight="bold")
        ax.tick_params(axis="x", labelsize=8, colors=FAINT)
        ax.tick_params(axis="y", length=0)
        ax.spines[["top", "right", "left"]].set_visible(False)
    lacking = missing(result)
    note = machine_line(result) + (f"\nnot installed: {', '.join(lacking)}" if lacking else "")
    figure.supxlabel(note, fontsize=8, color=FAINT)
    figure.suptitle("Time of one training, repeated in one process, and how many times glassnet's it is", fontsize=13)
    return figure
