"""The page's ES modules as one script: from a disk, a browser lets no module import another file.

Each module becomes a function that runs once and hands out what it exports. So names of one module cannot meet those of
another, and the source stays readable. Modules here import and export in few ways; any other is refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

_IMPORT = re.compile(r'import \{ ([\w$, ]+) \} from "\./([\w-]+)\.js";')
_EXPORT = re.compile(r"export (?=(?:const|function|class) ([\w$]+))")
_ODD = re.compile(
    r"^(?:import|export)\b.*|\bimport\s*\(.*|\bimport\.meta\b.*|.*</script.*|.*<!--.*", re.MULTILINE | re.I
)


def one_script(entry: str, sources: Mapping[str, str]) -> str:
    """The source of a module script that runs module `entry`; `sources` has every module's text by its name.

    Raises ValueError: an import or export that is not of the form `import { a, b } from "./name.js";`, `export const`,
    `export function` or `export class`; a module that is not there; modules that import each other.

    >>> main = 'import { two } from "./two.js";\\nsay(two);'
    >>> print(one_script("main", {"main": main, "two": "export const two = 2;"}))
    const $two = (() => {
    const two = 2;
    return { two };
    })();
    const $main = (() => {
    const { two } = $two;
    say(two);
    return {  };
    })();
    """
    written: dict[str, str] = {}

    def write(name: str, above: tuple[str, ...]) -> None:
        if name in above:
            raise ValueError(f"modules import each other: {' <- '.join((*above, name))}")
        if name in written:
            return
        if name not in sources:
            raise ValueError(f"there is no module {name!r}; {above[-1]!r} imports it" if above else f"no {name!r}")
        text = sources[name]
        for found in _IMPORT.finditer(text):
            write(found[2], (*above, name))
        exported = _EXPORT.findall(text)
        body = _EXPORT.sub("", _IMPORT.sub(r"const { \1 } = $\2;", text)).rstrip()
        if odd := _ODD.search(body):
            raise ValueError(f"module {name!r} has a line that cannot be part of one script: {odd[0].strip()!r}")
        written[name] = f"const ${name} = (() => {{\n{body}\nreturn {{ {', '.join(exported)} }};\n}})();"

    write(entry, ())
    return "\n".join(written.values())
