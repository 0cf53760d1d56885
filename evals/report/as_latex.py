"""Writes reports as LaTeX: a document of long tables, for xelatex or lualatex (all scripts)."""

from collections.abc import Iterable, Sequence

from evals.escape import visible
from evals.report.verdicts import Judged
from evals.report.words import LEGEND, below, marks, words

# all that TeX reads as a command, and characters that its fonts draw differently
_SPECIAL = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "`": r"\textasciigrave{}",
    # behind \\ a bare one would open an optional length
    "[": r"{[}",
    "]": r"{]}",
    "−": r"$-$",
}
# fontspec: captions and notes are in many scripts, which pdflatex's fonts lack.
_HEAD = r"""\documentclass{article}
\usepackage[landscape,margin=1cm]{geometry}
\usepackage{fontspec,longtable,booktabs}
\begin{document}\scriptsize\setlength{\tabcolsep}{3pt}"""
# of the line, shared by the columns; the rest is between them
WIDTH = 0.94


def page(tables: Sequence[Judged], head: Sequence[str]) -> str:
    """One document: the lines of the head, the legend, then the tables."""
    parts = [_HEAD, *map(escape, head), escape(LEGEND), *map(block, tables), r"\end{document}"]
    return "\n\n".join(parts) + "\n"


def block(judged: Judged) -> str:
    """A table as a section; labels and cells may break into lines."""
    row = judged.table.row
    columns = len(row.columns) + 1
    layout = rf"*{{{columns}}}{{p{{{WIDTH / columns:.3f}\linewidth}}}}"
    labels = (escape(c.label + marks(judged, c.footnotes)) for c in row.columns)
    lines = [rf"\section*{{{escape(row.title)}}}"]
    lines.append(rf"\begin{{longtable}}{{{layout}}}\toprule")
    lines.append(_line(["", *labels]) + r"\midrule\endhead")
    for section in judged.sections:
        if section.title:
            title = escape(section.title + marks(judged, section.footnotes))
            lines.append(rf"\multicolumn{{{columns}}}{{l}}{{\textbf{{{title}}}}}\\")
        for line, results in section.lines:
            label = escape(line.label + marks(judged, line.footnotes))
            cells = (escape(str(words(judged, result))) if result else "" for result in results)
            lines.append(_line([label, *cells]))
    lines.append(r"\bottomrule\end{longtable}")
    lines += [f"\\noindent {escape(text)}\n" for text in below(judged)]
    return "\n".join(lines)


def escape(text: str) -> str:
    """Text that LaTeX sets as it is."""
    return "".join(_SPECIAL.get(c, c) for c in visible(text))


def _line(cells: Iterable[str]) -> str:
    return f"{' & '.join(cells)}\\\\"
