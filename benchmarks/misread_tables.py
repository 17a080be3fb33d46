"""Who misreads a table without a word? Broken and odd files, and what five readers make of each by default.

The script writes every file itself, so it knows what stands in it; what counts as right is said, with the reason, in
`cases`. The outcomes:

right             the names and values that were written, and what is missing is missing
refused           an error whose message names the true line, row, byte or column; "no place": one that does not
said              read, but something was left out or is odd, and a warning or a notice says so
as written        every cell just as the file has it, but not what it means: numbers as texts, NA as a word, a text as
                  bytes; nothing is lost and nothing said
silent            other names, values or rows than were written, or what cannot be meant was read; and not a word

A number may come in any numeric type that has its value, an identifier as its text or as its exact whole number. "-" is
a case that is none of a reader's business: training, testing, predicting. Ends with status 1 if an outcome of glassnet
is not the one required of it.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import math
import re
import subprocess
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

import duckdb
import pandas
import polars
from polars.exceptions import PanicException
from pyarrow import csv

import glassnet as gn
from glassnet.errors import DataError

Pairs = list[tuple[str, list[Any]]]  # not a dict: a table that was read may have a name twice
Truth = Mapping[str, Sequence[Any]]

RIGHT, SAID, AS_WRITTEN, SILENT, ERROR = "right", "said", "as written", "silent", "error"
REFUSED, NO_PLACE, NOT_ITS_JOB = "refused", "refused, no place", "-"
OUTCOMES = (RIGHT, REFUSED, NO_PLACE, SAID, AS_WRITTEN, SILENT, ERROR)


# --- what is written ----------------------------------------------------------------------------------------------

TREES: Truth = {
    "tree": ["oak", "fir", "yew", "elm", "ash", "box"],
    "age": [120, 45, 310, 80, 64, 25],
    "height": [18.5, 22.25, 9.75, 14.5, 20.5, 3.75],
}


def lines_of(truth: Truth = TREES, delimiter: str = ",") -> list[str]:
    """The header and the rows; what is missing is blank."""
    rows = zip(*truth.values(), strict=True)
    return [delimiter.join(truth), *(delimiter.join("" if v is None else str(v) for v in row) for row in rows)]


def written(lines: Sequence[str], end: str = "\n") -> bytes:
    return "".join(line + end for line in lines).encode()


def changed(line: int, text: str) -> bytes:
    """The trees with another text on this line, counted from 1."""
    lines = lines_of()
    lines[line - 1] = text
    return written(lines)


def with_column(name: str, values: Sequence[Any]) -> Truth:
    return {**TREES, name: values}


# --- what a message has to name -----------------------------------------------------------------------------------


def at_line(line: int) -> str:
    """Matches a message that names this line; rows are counted from 0 or from 1, with or without the header."""
    rows = "|".join(str(line - less) for less in (0, 1, 2))
    return rf"\bline\W*(number\W*)?{line}\b|\b(row|record)\W*(number\W*)?({rows})\b"


def at_byte(byte: int) -> str:
    return rf"\b(byte|position|offset)\W*{byte}\b"


def at_column(name: str, number: int) -> str:
    """Matches a message that names this column, or counts to it from 0 or from 1."""
    return rf"\b{name}\b|\bcolumn\W*(number\W*)?({number}|{number - 1})\b"


# --- the cases ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """One file. `truth` is what stands in it, None where that cannot be said; `texts` how its cells are written, where
    that is not how Python writes them.

    `wanted` is what counts as right: read, refuse, or either. `required` is what glassnet must do, and `says` what it
    must say in doing so. `place` is what a refusal must name for its place to count, "" where there is none to name.
    """

    number: int
    title: str
    data: bytes
    wanted: Literal["read", "refuse", "either"]
    required: str
    truth: Truth | None = None
    texts: Truth | None = None
    place: str = ""
    says: tuple[str, ...] = ()


def cases() -> list[Case]:
    found: list[Case] = []

    def case(number: int, title: str, data: bytes, wanted: Any, required: str, **others: Any) -> None:
        found.append(Case(number, title, data, wanted, required, **others))

    # The mark is no part of the first name.
    case(1, "UTF-8 with a byte order mark", b"\xef\xbb\xbf" + written(lines_of()), "read", RIGHT, truth=TREES)

    names = {**TREES, "tree": ["oak", "fir", "yew", "elm", "ash", "poirier é"]}
    # Its first two bytes say what it is; who does not read it has to refuse it.
    case(
        2,
        "UTF-16",
        "\ufeff".encode("utf-16-le") + written(lines_of(names)).decode().encode("utf-16-le"),
        "either",
        RIGHT,
        truth=names,
        place=rf"{at_byte(0)}|{at_line(1)}|utf.?16",
        says=("UTF-16",),
    )
    one_byte = written(lines_of(names)).decode().encode("cp1252")
    offset = one_byte.index(b"\xe9")
    # An encoding of one byte a letter cannot be proven: a guess that is right is right, but is not asked for.
    case(
        2,
        "cp1252",
        one_byte,
        "either",
        REFUSED,
        truth=names,
        texts={name: [str(cell).encode("cp1252") for cell in cells] for name, cells in names.items()},
        place=rf"{at_byte(offset)}|{at_line(7)}|{at_column('tree', 1)}",
        says=(at_byte(offset),),
    )

    for sign, name in ((";", "semicolons"), ("\t", "tabs"), ("|", "bars")):
        # Only one sign cuts all lines into as many cells, so there is nothing to be asked.
        data = written(lines_of(delimiter=sign))
        case(3, f"{name} between columns", data, "read", RIGHT, truth=TREES, says=(name,))

    commas = {"tree": TREES["tree"], "height": [str(height).replace(".", ",") for height in TREES["height"]]}
    metres = {"tree": TREES["tree"], "height": TREES["height"]}
    # No other reading of 22,25 gives a number.
    case(
        4,
        "decimal commas",
        written(lines_of(commas, ";")),
        "read",
        RIGHT,
        truth=metres,
        texts=commas,
        says=("comma",),
    )
    thousands = {"tree": TREES["tree"], "height": ["1,234", "2,250", "9,750", "1,450", "2,050", "3,750"]}
    # 1234 or 1.234, and nobody but the user knows.
    case(
        4,
        "decimal commas that may be thousands",
        written(lines_of(thousands, ";")),
        "refuse",
        REFUSED,
        texts=thousands,
        place=rf"{at_line(2)}|{at_column('height', 2)}",
        says=("1,234", "--decimal"),
    )

    # Which of the two is meant by "age" cannot be known; age.1 stands nowhere in the file.
    case(5, "a name twice", changed(1, "tree,age,age"), "refuse", REFUSED, place=r"\bage\b", says=("'age'",))
    # A name that is made up is not in the file either.
    case(5, "a column without a name", changed(1, "tree,,height"), "refuse", REFUSED, place=r"\b[Cc]olumn\W*[12]\b")

    # Which cell is one too many, and which is lacking, cannot be known.
    case(6, "a row too long", changed(5, "elm,80,14.5,7"), "refuse", REFUSED, place=at_line(5), says=("line 5",))
    case(6, "a row too short", changed(5, "elm,80"), "refuse", REFUSED, place=at_line(5), says=("line 5",))
    # An empty line holds no cells, so leaving it out loses none; but a row of missing cells was not written.
    blank = [*lines_of()[:4], "", *lines_of()[4:]]
    case(6, "a blank line", written(blank), "either", REFUSED, truth=TREES, place=at_line(5), says=("line 5",))

    broken = {**TREES, "tree": ["oak", "fir", "yew\ngreen", "elm", "ash", "box"]}
    # RFC 4180 allows it.
    case(
        7,
        "a line end in quotes",
        written(lines_of({**broken, "tree": ["oak", "fir", '"yew\ngreen"', "elm", "ash", "box"]})),
        "read",
        RIGHT,
        truth=broken,
    )

    # The quote takes in all that follows, whatever it was to take in.
    case(8, "a quote never closed", changed(4, '"yew,310,9.75'), "refuse", REFUSED, place=at_line(4), says=("line 4",))

    # No table has one; what is in front of it or behind it may be anything.
    case(9, "a NUL byte", changed(5, "e\0lm,80,14.5"), "refuse", REFUSED, place=at_line(5), says=("line 5", "NUL"))

    long = {**TREES, "tree": ["oak", "fir", "y" * 2_000_000, "elm", "ash", "box"]}
    # A limit is wise, but who reads it all reads right.
    case(
        10,
        "a field of 2 MB",
        written(lines_of(long)),
        "either",
        REFUSED,
        truth=long,
        place=at_line(4),
        says=("line 4", "1 MiB"),
    )

    # A table of nothing is what is there; to train on it is an error.
    case(11, "an empty file", b"", "either", REFUSED, truth={}, says=("empty",))
    no_rows: Truth = {name: [] for name in TREES}
    case(11, "a header and no rows", written(lines_of()[:1]), "either", REFUSED, truth=no_rows, says=("no rows",))

    # As old as CSV.
    case(12, "CR line ends", written(lines_of(), "\r"), "read", RIGHT, truth=TREES)

    sizes = [str(1 + number % 97) for number in range(20_010)]
    sizes[20_000] = "unknown"
    late: Truth = {"row": list(range(20_010)), "girth": sizes}
    # Numbers with a slip, or texts: who said numbers 20,000 times has to say where they end.
    case(
        13,
        "a text after 20,000 numbers",
        written(lines_of(late)),
        "refuse",
        REFUSED,
        texts=late,
        place=rf"{at_line(20_002)}|{at_column('girth', 2)}",
        says=(r"line 20002\b", "'girth'", "--text"),
    )

    gaps = {**TREES, "age": [120, 45, None, 80, 64, 25]}
    for word, title in (("NA", "NA among numbers"), ("None", "None among numbers"), ("", "a blank among numbers")):
        # No number is written so, and all three are how common programs write that there is none.
        texts = {**TREES, "age": ["120", "45", word, "80", "64", "25"]}
        case(14, title, written(lines_of(texts)), "read", RIGHT, truth=gaps, texts=texts)
    # It comes of a comma at the end of every line. It may stay, all missing and without a name, or go and be said.
    case(
        14,
        "an empty last column without a name",
        written([line + "," for line in lines_of()]),
        "read",
        SAID,
        truth=with_column("", [None] * 6),
        says=("column 4", "left out"),
    )

    for word in ("inf", "1e400"):
        # No network computes with either, and the second is not what was written once it is infinite.
        texts = with_column("mass", ["1", "2", word, "4", "5", "6"])
        case(
            16,
            f"{word} among numbers",
            written(lines_of(texts)),
            "refuse",
            REFUSED,
            texts=texts,
            place=rf"{at_line(4)}|{at_column('mass', 4)}",
            says=("line 4", "'mass'", word),
        )
    identifiers = with_column("id", [f"1234567890123456789012345678{number}" for number in range(11, 17)])
    # Rounded, all six are the same tree. As texts or exact whole numbers they are what they are.
    case(
        16,
        "identifiers of 30 digits",
        written(lines_of(identifiers)),
        "either",
        REFUSED,
        truth=identifiers,
        place=rf"{at_line(2)}|{at_column('id', 4)}",
        says=("line 2", "'id'", "--text"),
    )
    codes = with_column("code", ["01234", "02345", "94110", "10001", "00501", "60601"])
    # 1234 is another code.
    case(16, "codes that begin with 0", written(lines_of(codes)), "read", RIGHT, truth=codes, says=("'code'",))
    return found


# --- the readers --------------------------------------------------------------------------------------------------


@dataclass
class Told:
    """What came of a case: the outcome and what to know of it."""

    outcome: str
    message: str = ""
    read: Pairs | None = None
    said: list[str] = field(default_factory=list)
    met: bool | None = None

    def to_json(self) -> dict[str, Any]:
        shown: dict[str, Any] = {"outcome": self.outcome}
        if self.met is not None:
            shown["as required"] = self.met
        if self.message:
            shown["message"] = self.message[:2000]
        if self.read is not None:
            shown["read"] = [
                {"name": cut(name), "rows": len(cells), "first cells": [cut(repr(cell)) for cell in cells[:8]]}
                for name, cells in self.read[:10]
            ]
        if self.said:
            shown["said"] = self.said
        return shown


def cut(text: str, most: int = 80) -> str:
    return text if len(text) <= most else text[:most] + "..."


def by_pandas(path: str) -> tuple[Pairs, Sequence[str]]:
    frame = pandas.read_csv(path)
    return [(str(frame.columns[j]), frame.iloc[:, j].tolist()) for j in range(frame.shape[1])], ()


def by_polars(path: str) -> tuple[Pairs, Sequence[str]]:
    return [(column.name, column.to_list()) for column in polars.read_csv(path).get_columns()], ()


def by_pyarrow(path: str) -> tuple[Pairs, Sequence[str]]:
    return of_arrow(csv.read_csv(path)), ()


def by_duckdb(path: str) -> tuple[Pairs, Sequence[str]]:
    with duckdb.connect() as connection:
        return of_arrow(connection.sql("SELECT * FROM read_csv(?)", params=[path]).to_arrow_table()), ()


def of_arrow(table: Any) -> Pairs:
    return [(name, column.to_pylist()) for name, column in zip(table.column_names, table.itercolumns(), strict=True)]


def by_glassnet(path: str) -> tuple[Pairs, Sequence[str]]:
    table = gn.read_table(path)
    pairs: Pairs = []
    for name in table.names:
        column = table.column(name)  # a cell that is at fault is raised here, for it does no harm until it is used
        cells = column.values.tolist() if column.kind == "number" else column.texts()
        gone = column.missing.tolist()
        pairs.append((name, [None if no else cell for cell, no in zip(cells, gone, strict=True)]))
    return pairs, table.notices


READERS: dict[str, Callable[[str], tuple[Pairs, Sequence[str]]]] = {
    "pandas": by_pandas,
    "Polars": by_polars,
    "pyarrow": by_pyarrow,
    "DuckDB": by_duckdb,
    "glassnet": by_glassnet,
}


# --- the judgement ------------------------------------------------------------------------------------------------


def is_missing(cell: Any) -> bool:
    """None, NaN and pandas' own marks: the only cells that do not equal themselves, or whose equality is not known."""
    return cell is None or type(cell).__name__ in ("NAType", "NaTType") or (isinstance(cell, float) and cell != cell)


def same_cell(cell: Any, true: Any) -> bool:
    if is_missing(cell) or true is None:
        return is_missing(cell) and true is None
    if isinstance(cell, str):
        return cell == true
    if isinstance(cell, bool) or not isinstance(cell, int | float | Decimal):
        return False
    if isinstance(true, str):  # an identifier
        return math.isfinite(cell) and int(cell) == cell and str(int(cell)) == true
    return float(cell) == true


def as_texts(pairs: Pairs, texts: Truth, truth: Truth) -> bool:
    """Whether every cell is the true one, or exactly what was written, as text or bytes."""
    return [name for name, _ in pairs] == list(texts) and all(
        len(cells) == len(texts[name])
        and all(
            same_cell(cell, true) or (isinstance(cell, str | bytes) and cell in (text, str(text)))
            for cell, text, true in zip(cells, texts[name], truth[name], strict=True)
        )
        for name, cells in pairs
    )


def difference(pairs: Pairs, truth: Truth) -> str:
    """The first thing that is not as it was written."""
    names = [name for name, _ in pairs]
    if names != list(truth):
        return f"the names are {cut(str(names), 200)}, not {list(truth)}"
    for name, cells in pairs:
        if len(cells) != len(truth[name]):
            return f"{len(cells)} rows, not {len(truth[name])}"
        for row, (cell, true) in enumerate(zip(cells, truth[name], strict=True)):
            if not same_cell(cell, true):
                return f"column {name!r}, row {row} from 0: {cut(repr(cell))}, not {cut(repr(true))}"
    return ""


def check_comparison() -> None:
    """A comparison that cannot fail would find every tool right: it has to tell every kind of misreading."""
    true = {"size": [1, 2.5, None], "id": ["007", "12", "NA"]}
    for size, identifier in (
        ([1, 2.5, None], ["007", "12", "NA"]),
        ([1.0, Decimal("2.5"), math.nan], ["007", 12, "NA"]),
    ):
        assert not difference([("size", size), ("id", identifier)], true)
    for pairs in (
        [("size", true["size"])],
        [("size", true["size"]), ("id.1", true["id"])],
        [("id", true["id"]), ("size", true["size"])],
        [("size", [1, 2.5]), ("id", ["007", "12"])],
        [("size", ["1", "2.5", None]), ("id", true["id"])],
        [("size", [1, 2.5, "None"]), ("id", true["id"])],
        [("size", [True, 2.5, None]), ("id", true["id"])],
        [("size", [1, 2.5, 0]), ("id", true["id"])],
        [("size", [1, None, None]), ("id", true["id"])],
        [("size", true["size"]), ("id", [7, 12, "NA"])],
        [("size", true["size"]), ("id", ["007", "12", None])],
    ):
        assert difference(pairs, true), pairs
    texts = {"size": ["1", "2,5", "?"], "id": true["id"]}
    assert as_texts([("size", ["1", "2,5", "?"]), ("id", true["id"])], texts, true)
    assert not as_texts([("size", ["1", "2.5", "?"]), ("id", true["id"])], texts, true)
    assert not as_texts([("size", ["1", "2,5", "?"]), ("id", [7, 12, "NA"])], texts, true)


def judged(case: Case, tool: str, path: str) -> Told:
    own = tool == "glassnet"
    try:
        with warnings.catch_warnings(record=True) as heard:
            warnings.simplefilter("always")
            pairs, notices = READERS[tool](path)
    except (Exception, PanicException) as error:  # a panic of Polars is no Exception
        # The folder's name is chance, and has numbers in it that are no place.
        message = f"{type(error).__name__}: {error}".replace(path, "FILE")
        if own and not isinstance(error, DataError):
            return Told(ERROR, message)  # a mistake of glassnet's, not of the file's
        found = re.search(case.place, message, re.IGNORECASE)
        return Told(REFUSED if found else NO_PLACE, message)
    # That a function will go away some day says nothing about the file.
    of_the_file = [w for w in heard if not issubclass(w.category, (DeprecationWarning, FutureWarning))]
    said = [*notices, *(f"{w.category.__name__}: {w.message}" for w in of_the_file)]
    if case.truth is None:
        instead = "read, though it cannot be known what is meant"
    elif not (instead := difference(pairs, case.truth)):
        return Told(RIGHT, read=pairs, said=said)
    if said:
        return Told(SAID, instead, pairs, said)
    if case.texts is not None and as_texts(pairs, case.texts, case.truth or case.texts):
        return Told(AS_WRITTEN, instead, pairs)
    return Told(SILENT, instead, pairs)


def as_required(told: Told, required: str, says: Sequence[str]) -> bool:
    words = "\n".join([told.message if told.read is None else "", *told.said])
    return told.outcome == required and all(re.search(pattern, words) for pattern in says)


# --- training, testing, predicting --------------------------------------------------------------------------------

QUICK = ("--starts", "2", "--epochs", "5")
KINDS: Truth = {
    "width": [10 + (7 * number) % 31 for number in range(60)],
    "depth": [5 + (11 * number) % 23 for number in range(60)],
    "kind": ["pine" if (7 * number) % 31 > 14 else "larch" for number in range(60)],
}


class Workplace:
    """A folder, and the command line run in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, name: str, truth: Truth) -> str:
        (self.folder / name).write_bytes(written(lines_of(truth)))
        return name

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "glassnet", *arguments]
        return subprocess.run(command, cwd=self.folder, capture_output=True, text=True, encoding="utf-8", check=False)

    def train(self, data: str, *options: str) -> subprocess.CompletedProcess[str]:
        return self.run("train", data, "--target", "kind", *QUICK, *options)

    def trained(self) -> str:
        """A model of the plain table; made once."""
        if (self.folder / "model.safetensors").exists():
            return "model.safetensors"
        done = self.train(self.write("kinds.csv", KINDS), "-o", "model.safetensors")
        if done.returncode:
            raise RuntimeError(f"glassnet cannot train on a plain table: {done.stderr}")
        return "model.safetensors"


def outcome_of(done: subprocess.CompletedProcess[str], place: str) -> Told:
    """`place` is what the message has to name, whether work goes on after it or not."""
    said = done.stderr.strip()
    if "Traceback" in said or done.returncode < 0:
        return Told(ERROR, said)
    found = re.search(place, said)
    if done.returncode:
        return Told(REFUSED if found else NO_PLACE, f"status {done.returncode}: {said}")
    return Told(SAID, said=[said]) if found else Told(SILENT, said=[said] if said else [])


@dataclass(frozen=True)
class Command:
    """A case of the command line: what it must come to, with which exit status and words."""

    number: int
    title: str
    call: Callable[[Workplace], Told]
    required: str
    status: int = 0


def commands() -> list[Command]:
    def training(name: str, truth: Truth, place: str, *options: str) -> Callable[[Workplace], Told]:
        return lambda at: outcome_of(at.train(at.write(name, truth), *options), place)

    empty = {"note": [None] * 60, **KINDS}
    constant = {"place": [3] * 60, **KINDS}
    one_class = {**KINDS, "kind": ["pine"] * 60}
    rows = [*range(40), 3, 8, 21, *range(43, 60)]
    # Three rows for testing are rows for training, written once more.
    again = {name: [values[row] for row in rows] for name, values in {**KINDS, "depth": range(60)}.items()}
    marks = {"part": ["train"] * 40 + ["test"] * 20, **again}

    def unseen(at: Workplace) -> Told:
        other = {**KINDS, "kind": ["sycamore", *KINDS["kind"][1:]]}
        return outcome_of(at.run("evaluate", at.trained(), at.write("unseen.csv", other)), "'sycamore'")

    def lacking(at: Workplace) -> Told:
        less = {name: KINDS[name] for name in ("width", "kind")}
        return outcome_of(at.run("predict", at.trained(), at.write("lacking.csv", less)), "'depth'")

    def reordered(at: Workplace) -> Told:
        model = at.trained()
        other = at.write("reordered.csv", {name: KINDS[name] for name in reversed(KINDS)})
        plain, turned = at.run("predict", model, "kinds.csv"), at.run("predict", model, other)
        if plain.returncode or turned.returncode:
            return outcome_of(turned if turned.returncode else plain, "")
        return Told(RIGHT if plain.stdout == turned.stdout else SILENT)

    return [
        # What is the same in every row tells nothing, so leaving it out changes no answer; but it may be a slip.
        Command(15, "a column without a value", training("empty.csv", empty, "'note'"), SAID),
        Command(15, "the same, --strict", training("empty.csv", empty, "'note'", "--strict"), REFUSED, 65),
        Command(15, "a column of one value", training("constant.csv", constant, "'place'"), SAID),
        Command(15, "the same, --strict", training("constant.csv", constant, "'place'", "--strict"), REFUSED, 65),
        # There is nothing to tell apart.
        Command(17, "one class only", training("class.csv", one_class, "'pine'"), REFUSED, 65),
        # A label that the model cannot answer would count as its error, or not at all.
        Command(18, "an unseen label in testing", unseen, REFUSED, 65),
        # Nothing can stand in for a column.
        Command(19, "a column lacking in prediction", lacking, REFUSED, 65),
        # Columns have names, so their order says nothing.
        Command(19, "columns in another order", reordered, RIGHT),
        # Whoever asks for it cannot mean it.
        Command(
            20,
            "the target among the features",
            training("kinds.csv", KINDS, "'kind'", "--features", "width,kind"),
            REFUSED,
            2,
        ),
        # It may be chance, or the same thing measured twice; the user knows.
        Command(20, "rows on both sides of the split", training("marks.csv", marks, r"\b3\b", "--split", "part"), SAID),
    ]


# --- all of it ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Line:
    """A case in the table."""

    number: int
    title: str
    wanted: str
    required: str
    told: dict[str, Told]


def measured(folder: Path) -> list[Line]:
    lines = []
    for order, case in enumerate(cases()):
        path = folder / f"{order}.csv"
        path.write_bytes(case.data)
        told = {tool: judged(case, tool, str(path)) for tool in READERS}
        told["glassnet"].met = as_required(told["glassnet"], case.required, case.says)
        lines.append(Line(case.number, case.title, case.wanted, case.required, told))
    workplace = Workplace(folder)
    for command in commands():
        try:
            own = command.call(workplace)
        except RuntimeError as error:
            own = Told(ERROR, str(error))
        status = re.match(r"status (\d+)", own.message)
        own.met = own.outcome == command.required and int(status[1] if status else 0) == command.status
        others = {tool: Told(NOT_ITS_JOB) for tool in READERS if tool != "glassnet"}
        wanted = "refuse" if command.required == REFUSED else "warn" if command.required == SAID else "as before"
        lines.append(Line(command.number, command.title, wanted, command.required, {**others, "glassnet": own}))
    return sorted(lines, key=lambda line: line.number)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("--json", metavar="FILE", type=Path, help="write what was read, or the message, of every case")
    options = parser.parse_args()
    check_comparison()
    with tempfile.TemporaryDirectory() as folder:
        lines = measured(Path(folder))
    print("|", " | ".join(["case", *READERS]), "|")
    print("|", " | ".join(["---"] * (len(READERS) + 1)), "|")
    for line in lines:
        case = f"{line.number}. {line.title}: {line.wanted.replace('either', 'read or refuse')}"
        print("|", " | ".join([case, *(line.told[tool].outcome for tool in READERS)]), "|")
    print()
    versions = {tool: importlib.metadata.version(tool.lower()) for tool in READERS}
    for tool, version in versions.items():
        counts = Counter(line.told[tool].outcome for line in lines)
        print(
            f"{tool} {version}: " + ", ".join(f"{counts[outcome]} {outcome}" for outcome in OUTCOMES if counts[outcome])
        )
    missed = [line for line in lines if not line.told["glassnet"].met]
    for line in missed:
        own = line.told["glassnet"]
        heard = " ".join([own.message, *own.said])
        print(
            f"NOT as required of glassnet: {line.number}. {line.title}: {line.required}; it was {own.outcome}: {heard}"
        )
    if options.json is not None:
        every = [
            {
                "case": line.number,
                "title": line.title,
                "counts as right": line.wanted,
                "required of glassnet": line.required,
                "tools": {tool: told.to_json() for tool, told in line.told.items()},
            }
            for line in lines
        ]
        text = json.dumps({"versions": versions, "cases": every}, indent=2, ensure_ascii=False)
        options.json.write_text(text + "\n", encoding="utf-8")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
