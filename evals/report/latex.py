"""Reports as LaTeX: a document of long tables; compile it with xelatex or lualatex, which know all scripts."""

from collections.abc import Iterable, Sequence

from evals.report.verdicts import Judged
from evals.report.words import LEGEND, marks, notes, summary, tolerance, visible, words

_SPECIAL = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "%": r"\%", "_": r"\_",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}",
    '"': r"\textquotedbl{}", "`": r"\textasciigrave{}", "[": r"{[}", "]": r"{]}", "−": r"$-$",
}  # fmt: skip
_HEAD = r"""\documentclass{article}
\usepackage[landscape,margin=1cm]{geometry}
\usepackage{fontspec,longtable,booktabs}
\begin{document}\scriptsize\setlength{\tabcolsep}{3pt}"""


def page(tables: Sequence[Judged], head: Sequence[str]) -> str:
    """One document."""
    parts = [_HEAD, *map(escape, head), escape(LEGEND), *map(block, tables), r"\end{document}"]
    return "\n\n".join(parts) + "\n"


def block(judged: Judged) -> str:
    """A table as a section; labels and cells may break into lines."""
    row = judged.table.row
    width = 0.94 / (len(row.columns) + 1)
    columns = (escape(c.label + marks(judged, c.footnotes)) for c in row.columns)
    lines = [rf"\section*{{{escape(row.title)}}}"]
    lines.append(
        rf"\begin{{longtable}}{{*{{{len(row.columns) + 1}}}{{p{{{width:.3f}\linewidth}}}}}}\toprule"
    )
    lines.append(_line(["", *columns]) + r"\midrule\endhead")
    for title, names, rows in judged.sections:
        if title:
            heading = rf"\textbf{{{escape(title + marks(judged, names))}}}"
            lines.append(rf"\multicolumn{{{len(row.columns) + 1}}}{{l}}{{{heading}}}\\")
        for line, results in rows:
            cells = (escape(str(words(result))) if result else "" for result in results)
            lines.append(_line([escape(line.label + marks(judged, line.footnotes)), *cells]))
    told = f"{summary(judged)}. {tolerance(judged)}{marks(judged, row.footnotes)}"
    after = [
        escape(told),
        *(escape(f"[{i}] {text}") for i, (_, text) in enumerate(notes(judged), 1)),
    ]
    return "\n".join(
        [*lines, r"\bottomrule\end{longtable}", *(f"\\noindent {text}\n" for text in after)]
    )


def escape(text: str) -> str:
    """Text that LaTeX sets as it is."""
    return "".join(_SPECIAL.get(c, c) for c in visible(text))


def _line(cells: Iterable[str]) -> str:
    return f"{' & '.join(cells)}\\\\"
