"""The language of kernels means what Python means: the same source, translated and run by Python, gives the same."""

from __future__ import annotations

import ast
import ctypes
import math
from itertools import product
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from glassnet.kernels import machine
from glassnet.kernels.language import translated

SOURCE = '''
import math

import numpy as np

HALF = 0.5

def whole(a, b, out):
    """Everything of whole numbers."""
    out[0], out[1], out[2] = a + b, a - b, a * b
    if b != 0:
        out[3], out[4] = a // b, a % b
    out[5], out[6], out[7] = a & b, a | b, a ^ b
    out[8], out[9], out[10] = -a, min(a, b), max(a, b)
    out[11] = (a << 3) + (1 << abs_of(b) % 9) + (a >> 2)
    out[12] = (a < b) + 2 * (a <= b) + 4 * (a > b) + 8 * (a >= b) + 16 * (a == b) + 32 * (a != b)
    out[13] = 1 if a > 3 and b > 2 or not a else 0
    out[14] += a
    return 0.0

def abs_of(n):
    return n if n >= 0 else -n

def real(x, y, n, out):
    out[0], out[1], out[2], out[3] = x + y, x - 2, 3 * x, x / y
    out[4], out[5], out[6] = -x, abs(x), x * HALF + n
    out[7] = (x < y) + 2 * (x <= y) + 4 * (x > y) + 8 * (x >= y) + 16 * (x == y) + 32 * (x != y)
    out[8] = n / 4
    out[9] = x if n else 7
    out[10] = math.inf if x else -np.inf
    return np.float64(n) / 2

def unsigned(a, b, out):
    u, v = np.uint64(a), np.uint64(b)
    out[0], out[1] = np.int64(u >> np.uint64(3)), np.int64((u & v) | (u ^ v))
    out[2] = (u > v) + 0
    c0, c1 = u & np.uint64(255), v >> np.uint64(60)
    for _ in range(3):
        c0, c1 = c1 ^ c0, c0
    out[3], out[4] = np.int64(c0), np.int64(c1)
    return (u >> np.uint64(11)) * 1.1102230246251565e-16

def loops(n, m, out):
    at = total = 0
    for i in range(n):
        for k in range(i, m, 3):
            if k == 7:
                continue
            if k > 20:
                break
            total += k
            out[1] = k
        i = 100  # the next turn does not care
        at += i
    going, w = True, 0
    while going and w < n:
        w += 1
        if w == m:
            going = False
            break
    else_ = 0
    if n < 3:
        else_ = 1
    elif n < 6:
        else_ = 2
    else:
        else_ = 3
    out[2], out[3], out[4] = at, w, else_
    out[0] = total
    return 0.0

def pair(a, b):
    c = a + b
    return c, a - b

def written_in(a, b, out):
    c = 5
    three = pair(a, b), 3
    (s, d), n = three
    out[0], out[1], out[2] = s, d, n + c
    return 0.0

def not_looked_at(n, out):
    if n > 0 and out[n] == 4:
        return_ = 1
    else:
        return_ = 0
    seen = n == 0 or out[n] == 3
    out[0] = 1 if seen else return_ + 2
    return 0.0
'''
SIGNATURES = {
    "whole": "float64(int64, int64, int64*)",
    "real": "float64(float64, float64, int64, float64*)",
    "unsigned": "float64(int64, int64, int64*)",
    "loops": "float64(int64, int64, int64*)",
    "written_in": "float64(int64, int64, int64*)",
    "not_looked_at": "float64(int64, int64*)",
}
GIVEN: dict[str, list[tuple[Any, ...]]] = {
    "whole": list(product((-9, -1, 0, 1, 2, 3, 8, 1000), repeat=2)),
    "real": list(product((-2.5, 0.0, -0.0, 1.0, 1e300, math.inf, math.nan), (-1.0, 1.0, 3.0, math.nan), (0, 5))),
    "unsigned": list(product((0, 1, -1, 12345678901234567), repeat=2)),
    "loops": list(product(range(-1, 9), (0, 1, 5, 30))),
    "written_in": [(3, 4), (-1, 1)],
    "not_looked_at": [(0,), (1,), (2,), (3,)],
}


def module_of(source: str) -> ModuleType:
    module = ModuleType("a_kernel")
    exec(compile(source, "a kernel", "exec"), module.__dict__)
    return module


@pytest.mark.parametrize("name", SIGNATURES)
@pytest.mark.filterwarnings("ignore:invalid value|overflow")
def test_a_kernel_means_what_python_means(name: str) -> None:
    module, types = module_of(SOURCE), SIGNATURES[name].split("(")[1].rstrip(")").split(", ")
    kinds = [{"int64": ctypes.c_int64, "float64": ctypes.c_double}.get(kind, ctypes.c_void_p) for kind in types]
    function = ctypes.CFUNCTYPE(ctypes.c_double, *kinds)(machine.code(SOURCE, SIGNATURES)[name])
    for given in GIVEN[name]:
        found = np.arange(1, 17).astype(types[-1].rstrip("*"))
        expected = found.copy()
        returned = function(*given, found.ctypes.data)
        with np.errstate(over="ignore"):
            of_python = getattr(module, name)(*map(np.int64 if name == "unsigned" else _itself, given), expected)
        np.testing.assert_array_equal(found, expected, str(given))
        np.testing.assert_equal(returned, float(of_python))


def _itself(number: Any) -> Any:
    return number


@pytest.mark.parametrize(
    ("lines", "signature", "problem"),
    [
        ("n = 1\nn += 1\nn = x", "float64(float64)", "cannot become"),
        ("n = 1\nn += 1\nn = x[0] > 0", "float64(int64*)", "cannot become"),
        ("x[0] = 1.5", "float64(int64*)", "is no int64"),
        ("if (lambda: x)():\n        pass", "float64(int64)", "know no Lambda"),
        ("y = [x]", "float64(int64)", "know no List"),
        ("y = undefined", "float64(int64)", "undefined"),
        ("y = np.uint64(x) + x", "float64(int64)", "no type in common"),
        ("y = 'text' if x else 'other'", "float64(int64)", "knows nothing of 'text'"),
        ("y = x if x else p", "float64(int64, int64*)", "cannot become"),
        ("y = float(x)", "float64(int64)", "float"),
        ("y = x[0]", "float64(int64)", "only pointers"),
        ("for i in range(0, 9, x):\n        pass", "float64(int64)", "a step is a constant"),
        ("assert x", "float64(int64)", "know no Assert"),
        ("if x:\n        return 1.0", "float64(int64)", "know no Return"),
    ],
)
def test_what_is_not_in_the_language_is_refused(lines: str, signature: str, problem: str) -> None:
    arguments = "x, p" if "," in signature else "x"
    body = lines if "\n        " in lines else lines.replace("\n", "\n    ")
    source = f"import numpy as np\n\ndef f({arguments}):\n    {body}\n    return 0.0\n"
    module = module_of(source)
    with pytest.raises((TypeError, AssertionError, KeyError), match=problem) as raised:
        translated(ast.parse(source), vars(module), "f", signature, "f")
    assert any("of a kernel: " in note for note in raised.value.__notes__)


def test_what_is_in_the_language_is_not_refused() -> None:
    source = "def f(x):\n    y = x\n    return 0.0\n"
    assert 'define double @"f"(i64' in translated(ast.parse(source), {}, "f", "float64(int64)", "f")


def test_a_condition_that_is_constant_leaves_the_other_lines_out() -> None:
    source = "def f(x):\n    if 1 > 2:\n        undefined(x)\n    return 1.0 if True else undefined\n"
    assert "br label" in translated(ast.parse(source), {}, "f", "float64(int64)", "f")
