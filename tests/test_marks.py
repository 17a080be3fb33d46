"""A folder of files to mark: what is checked, the table, the pages, and the command line's part."""

from __future__ import annotations

import csv
import io
import json
import re
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glassnet import cli
from glassnet.cells import is_number
from glassnet.checking.examination import Examined
from glassnet.checking.marks import Marks, mark, page_name, submissions
from glassnet.errors import NoInputError
from glassnet.expressions import readable

RIGHT = """
import numpy as np

def forward(parameters, X):
    z1 = X @ parameters["W1"] + parameters["b1"]
    a1 = np.maximum(z1, 0)
    p = 1 / (1 + np.exp(-(a1 @ parameters["W2"] + parameters["b2"])))
    return p, (z1, a1)

def backward(parameters, X, y):
    p, (z1, a1) = forward(parameters, X)
    delta2 = (p - y) / len(X)
    delta1 = (delta2 @ parameters["W2"].T) * (z1 > 0)
    return {"W1": X.T @ delta1, "b1": delta1.sum(axis=0), "W2": a1.T @ delta2, "b2": delta2.sum(axis=0)}
"""
WRONG = RIGHT.replace(" * (z1 > 0)", "")

HOSTILE = ["=cmd|' 'calc'!A0.py", "+1.py", "@SUM(A1).py", 'a,b"c.py', "<img src=x>.py", "line\nbreak.py", "ä 学.py"]
HIDES_NOTHING = {
    "none": [],
    "where": ["first_wrong", "where"],
    "name": ["mistake", "name"],
    "full": ["sentence", "read_as"],
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A class: one right, one wrong, one that raises, in folders of their own, and files that are not to be checked."""
    folder = tmp_path_factory.mktemp("class")
    for name, text in {
        "anna/gradients.py": RIGHT,
        "ben/gradients.py": WRONG,
        "cem.py": "raise ValueError('=no')",
        "cem.txt": "not mine",
        "__pycache__/anna.py": "1/0",
        ".git/hook.py": "1/0",
    }.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    (folder / "all").symlink_to(folder)
    return folder


@pytest.fixture(scope="module")
def marks(folder):
    return mark(str(folder))


def run(capsys, *arguments):
    with pytest.raises(SystemExit) as ended:
        cli.main(["check", *map(str, arguments)])
    captured = capsys.readouterr()
    return ended.value.code, captured.out, captured.err


def test_every_python_file_below_is_found_and_nothing_else(folder):
    python, others = submissions(str(folder))
    assert python == ["anna/gradients.py", "ben/gradients.py", "cem.py"]
    assert others == ["cem.txt"]


def test_the_table(marks):
    rows = {row["file"]: row for row in csv.DictReader(io.StringIO(marks.csv()))}
    assert list(rows) == ["anna/gradients.py", "ben/gradients.py", "cem.py"]
    assert [row["verdict"] for row in rows.values()] == ["right", "wrong", "error"]
    assert rows["ben/gradients.py"]["mistake"] == "activation-derivative-missing"
    assert rows["ben/gradients.py"]["first_wrong"]
    assert rows["ben/gradients.py"]["sentence"]
    assert "output sigmoid" in rows["anna/gradients.py"]["read_as"]
    assert rows["cem.py"]["line"] == "1"
    assert "=no" in rows["cem.py"]["problem"]
    assert not rows["anna/gradients.py"]["mistake"]
    assert all(float(row["seconds"]) > 0 for row in rows.values())
    assert marks.counts == {"right": 1, "wrong": 1, "error": 1}
    assert not marks.ok


@pytest.mark.parametrize("hint", HIDES_NOTHING)
def test_a_hint_adds_columns(folder, hint):
    header = next(csv.reader(io.StringIO(mark(str(folder / "ben"), hint=hint).csv())))
    told = [name for of in list(HIDES_NOTHING)[: list(HIDES_NOTHING).index(hint) + 1] for name in HIDES_NOTHING[of]]
    assert header == ["file", "verdict", *told, "problem", "line", "seconds"]


class Reader(HTMLParser):
    """The elements of a page, its links and its text."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.links, self.text = [], [], ""
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.links += [value for name, value in attrs if name in ("href", "src")]

    def handle_data(self, data):
        self.text += data


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hostile")
    for name in HOSTILE:
        (folder / name).write_text("raise ValueError('<script>alert(1)</script>')", encoding="utf-8")
    return mark(str(folder))


def test_no_cell_is_a_formula(hostile):
    rows = list(csv.reader(io.StringIO(hostile.csv())))[1:]
    assert {row[0].removeprefix("'") for row in rows} == set(map(readable, HOSTILE))
    for row in rows:
        assert not re.match(r"[=+@\t\r-]", row[0])


def test_names_do_no_harm_in_pages(hostile, tmp_path):
    hostile.write_pages(str(tmp_path / "pages"))
    pages = {path.name: path.read_text(encoding="utf-8") for path in (tmp_path / "pages").iterdir()}
    index = Reader(pages.pop("index.html"))
    assert sorted(index.links) == sorted(pages)
    for name in HOSTILE:
        assert readable(name) in index.text
        assert re.fullmatch(r"[A-Za-z0-9-]+\.html", page_name(name))
    for text in (*pages.values(),):
        page = Reader(text)
        assert not set(page.tags) & {"script", "img", "link", "iframe"}
        assert page.links == []
        assert "<script>alert(1)</script>" in page.text


def test_the_index_counts_mistakes_and_names_what_was_left_out(marks):
    page = Reader(marks.index())
    assert "3 files: 1 right, 1 wrong, 1 not checked" in page.text
    assert "derivative of the activation is missing" in page.text or "activation's derivative is missing" in page.text
    assert "cem.txt" in page.text


def test_page_names_differ_where_names_do():
    names = ["a/b.py", "a-b.py", "a b.py", "A/b.py"]
    assert len({page_name(name).lower() for name in names}) == len(names)


def test_a_name_that_is_no_text(tmp_path):
    try:
        (tmp_path / "bad\udcff.py").write_text("1/0")
    except OSError:
        pytest.skip("this file system takes text only")
    marks = mark(str(tmp_path))
    assert list(marks.results) == ["bad\\udcff.py"]
    marks.csv().encode()
    marks.index().encode()


def test_an_empty_folder_is_no_input(tmp_path):
    with pytest.raises(NoInputError, match="has none"):
        mark(str(tmp_path))
    (tmp_path / "answer.ipynb").write_text("{}")
    with pytest.raises(NoInputError, match=r"there is 'answer\.ipynb'"):
        mark(str(tmp_path))


NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0/"), min_size=1, max_size=20)


INDEX = {"html", "head", "meta", "title", "style", "body", "main", "h1", "h2", "div", "table", "tr", "th", "td"}
INDEX |= {"a", "span", "p"}


def found(verdict, sentence):
    """A result as a process would tell it."""
    first = {"quantity": sentence, "name": sentence, "row": 0}
    mistakes = [{"key": "sign", "name": sentence, "sentence": sentence}]
    problem = {"message": sentence, "line": 1} if verdict == "error" else None
    report = {"verdict": verdict, "first": first, "mistakes": mistakes, "problem": problem}
    return Examined("a.py", report, sentence, "", 0.5)


@given(st.dictionaries(NAMES, st.tuples(st.sampled_from(["right", "wrong", "error"]), NAMES), min_size=1, max_size=4))
def test_any_name_and_any_text_go_through_unharmed(results):
    marks = Marks("class", "full", {name: found(*told) for name, told in results.items()}, ())
    rows = list(csv.reader(io.StringIO(marks.csv(), newline="")))
    assert len(rows) == 1 + len(results)
    for row, name in zip(rows[1:], results, strict=True):
        assert row[0] in (readable(name, 1000), f"'{readable(name, 1000)}")
        for cell in row:
            assert len(cell) == 1 or is_number(cell) or not cell.startswith(("=", "+", "-", "@", "\t", "\r"))
    page = Reader(marks.index())
    assert set(page.tags) <= INDEX
    assert len(page.links) == len(results)
    assert all(character.isprintable() or character == "\n" for character in marks.text())


# --- the command line ---------------------------------------------------------------------------------------------


def test_a_folder_is_marked(capsys, folder, tmp_path):
    status, out, err = run(capsys, folder, "-o", tmp_path / "marks.csv", "--pages", tmp_path / "pages")
    assert status == 1
    assert "3 files: 1 right, 1 wrong, 1 not checked" in out
    assert "left out" in err
    assert "cem.txt" in err
    assert len((tmp_path / "marks.csv").read_text(encoding="utf-8").splitlines()) == 4
    assert len(list((tmp_path / "pages").iterdir())) == 4


def test_a_folder_where_all_is_right(capsys, folder):
    status, out, err = run(capsys, folder / "anna")
    assert (status, out, err) == (0, "1 file: 1 right, 0 wrong, 0 not checked\n", "")


def test_a_folder_as_json(capsys, folder):
    status, out, _ = run(capsys, folder, "--json", "--hint", "where")
    told = json.loads(out)
    assert status == 1
    assert (told["ok"], told["counts"], told["left_out"]) == (False, {"right": 1, "wrong": 1, "error": 1}, ["cem.txt"])
    assert [result["file"] for result in told["files"]] == ["anna/gradients.py", "ben/gradients.py", "cem.py"]
    assert {"verdict", "seconds"} <= set(told["files"][0])


@pytest.mark.parametrize(("name", "status"), [("anna/gradients.py", 0), ("ben/gradients.py", 1), ("cem.py", 1)])
def test_one_file(capsys, folder, name, status):
    found, out, err = run(capsys, folder / name)
    assert (found, err) == (status, "")
    assert "gradients.py" in out or "ValueError" in out


def test_one_file_as_json_and_as_a_page(capsys, folder):
    status, out, _ = run(capsys, folder / "ben" / "gradients.py", "--json")
    assert status == 1
    assert json.loads(out)["verdict"] == "wrong"
    status, out, _ = run(capsys, folder / "ben" / "gradients.py", "--html")
    assert status == 1
    assert out.startswith("<!doctype html>")
    assert "lit</title>" in out


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        ([], 2, "takes a FILE of Python or a FOLDER"),
        (["nowhere.py"], 66, "There is no file nowhere.py"),
        (["{folder}/cem.py", "-o", "marks.csv"], 2, "are for the marks of a FOLDER"),
        (["{folder}/cem.py", "--json", "--html"], 2, "in one form"),
        (["{folder}", "--html"], 2, "--pages FOLDER"),
        (["{folder}", "-o", "{folder}/cem.py"], 2, "looks like one that is checked"),
        (["{folder}", "-o", "{folder}/nowhere/marks.csv"], 73, "cannot be written"),
        (["{folder}", "--conventions", "layout=sideways"], 2, "sideways"),
        (["{folder}", "--hint", "whre"], 2, "Did you mean 'where'?"),
        (["{folder}", "--timeout", "0"], 2, "--timeout"),
        (["{folder}/ben", "--pages", "{folder}/cem.py"], 73, "cannot be made"),
    ],
)
def test_what_cannot_be_meant(capsys, folder, arguments, status, said):
    found, out, err = run(capsys, *(argument.format(folder=folder) for argument in arguments))
    assert (found, out) == (status, "")
    assert said in err
    assert "Traceback" not in err
