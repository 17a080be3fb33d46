"""Expressions as JavaScript functions that round as NumPy does, and so give the same bits.

JavaScript's numbers are float64 and its `+ - * /` and `Math.sqrt` round as IEEE 754 says; nothing is contracted. What
it leaves open, exp and log, `web/static/arithmetic.js` has as `arithmetic` has it. In float32 every operation is
rounded once more by `Math.fround`: two roundings that, for these operations, come to one (Figueroa, "When is double
rounding innocuous?", 1995).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from glassnet.expressions import Expression, lowered

# What an expression holds when it is lowered. Of more than two operands, add and mul work from left to right.
_TEMPLATES = {
    "add": "{0} + {1}",
    "mul": "{0} * {1}",
    "sub": "{0} - {1}",
    "div": "{0} / {1}",
    "neg": "-{0}",
    "lt": "{0} < {1}",
    "le": "{0} <= {1}",
    "gt": "{0} > {1}",
    "ge": "{0} >= {1}",
    "eq": "{0} === {1}",
    "select": "{0} ? {1} : {2}",
    "abs": "Math.abs({0})",
    "sign": "Math.sign({0})",
    "max": "Math.max({0}, {1})",
    "min": "Math.min({0}, {1})",
    "sqrt": "Math.sqrt({0})",
    "exp": "exp({0})",
    "log": "log({0})",
}
_ROUNDED = frozenset(("add", "mul", "sub", "div", "sqrt"))  # exp and log round by themselves; the others are exact


def javascript_function(expression: Expression, names: Sequence[str], *, single: bool = False) -> str:
    """The source of a function of `names`, a line for each operation, every common part computed once.

    It calls `exp` and `log` where the expression has them. `single`: rounded to float32 throughout, from arguments that
    are float32 already.

    >>> from glassnet.expressions import parse
    >>> print(javascript_function(parse("a * (1 - a)"), ["a"]))
    (a) => {
      const t0 = 1 - a;
      const t1 = a * t0;
      return t1;
    }
    >>> print(javascript_function(parse("0.1 * z"), ["z"], single=True))
    (z) => {
      const t0 = Math.fround(Math.fround(0.1) * z);
      return t0;
    }
    """
    lines: list[str] = []
    done: dict[Expression, str] = {}

    def computed(op: str, operands: Sequence[str]) -> str:
        right = _TEMPLATES[op].format(*operands)
        if single and op in _ROUNDED:
            right = f"Math.fround({right})"
        lines.append(f"const t{len(lines)} = {right};")
        return f"t{len(lines) - 1}"

    def written(part: Expression) -> str:
        if part.op == "symbol":
            return str(part.args[0])
        if part.op == "const":
            value = part.args[0]
            text = repr(value)
            if single and float(np.float32(value)) != value:
                text = f"Math.fround({text})"
            return f"({text})" if text.startswith("-") else text
        if part not in done:
            first, *others = [written(operand) for operand in part.args]
            if part.op in ("add", "mul"):
                for other in others:
                    first = computed(part.op, (first, other))
                done[part] = first
            else:
                done[part] = computed(part.op, (first, *others))
        return done[part]

    result = written(lowered(expression))
    return "\n  ".join([f"({', '.join(names)}) => {{", *lines, f"return {result};"]) + "\n}"
