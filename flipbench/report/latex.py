"""The table as a LaTeX float (booktabs), in the form of the paper's Table II with the paper's values in grey."""

import re

from flipbench.paper.names import dataset_name, known_method
from flipbench.report.columns import METRIC_NAMES, TableCell
from flipbench.report.table import ResultTable

GREY = r"@{\hspace{3pt}}>{\color{gray}\scriptsize}r"
"""Column of the paper's values, or another source's, close to ours on its left."""

PACKAGES = ("array", "booktabs", "graphicx", "xcolor")

WAVE = (
    r"\providecommand{\uwave}[1]{\leavevmode{\setbox0\hbox{#1}\rlap{\lower1.1ex\hbox to\wd0{\usefont{U}{lasy}{m}{n}"
    r"\fontsize{6}{6}\selectfont\leaders\hbox{\char58}\hfil}}\box0}}"
)
"""A wavy underline of LaTeX's own fonts, for want of the package ulem; where that is loaded, its own is used."""

ESCAPES = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "|": r"\textbar{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "—": "---",
        "–": "--",
        "±": r"$\pm$",
        "×": r"$\times$",
        "→": r"$\rightarrow$",
        "≈": r"$\approx$",
        "↑": r"$\uparrow$",
        "↓": r"$\downarrow$",
        "⊘": r"$\oslash$",
        "[": "{[}",  # else an argument of the \\ before it
        "]": "{]}",
        "*": "{*}",
        **{character: f"\\{character}" for character in "&%$#_{}"},
    }
)


def to_latex(table: ResultTable) -> str:
    """A complete ``table*`` float, the packages to load in a comment at its top; ends in a newline."""
    waves = any(cell.best_baseline for cell in table.cells)
    text = escape(table.caption(baseline="with a wavy underline"))
    lines = [
        f"% packages: {', '.join(PACKAGES)}",
        *([WAVE] if waves else []),
        r"\begin{table*}[t]",
        r"\centering",
        r"\setlength{\belowcaptionskip}{4pt}",
        rf"\caption[{escape(table.title)}]{{{escape(table.title)}. {text}}}",
        rf"\label{{tab:{re.sub(r'[^A-Za-z0-9.-]+', '-', table.name)}}}",
        r"\footnotesize",
        r"\setlength{\tabcolsep}{3pt}",
        r"\resizebox{\ifdim\width>\textwidth\textwidth\else\width\fi}{!}{%",
        *_tabular(table),
        r"}\par\smallskip",
        rf"{{\tiny\ttfamily {_signature(table.signature)}\par}}",
        r"\end{table*}",
    ]
    return "\n".join([*lines, ""])


def escape(text: str) -> str:
    """Text that LaTeX prints as it is, on one line."""
    return " ".join(text.split()).translate(ESCAPES)


def _tabular(table: ResultTable) -> list[str]:
    spec, upper, lower, rules, at = "@{}l", [""], ["Model"], [], 2
    for dataset in table.datasets:
        columns = [table.columns[i] for i in table.columns_of(dataset)]
        for column in columns:
            spec += GREY if column.source != "ours" else r"@{\hspace{10pt}}r" if column is columns[0] else "r"
            if column.source == "ours":
                width = sum(other.metric == column.metric for other in columns)
                lower.append(rf"\multicolumn{{{width}}}{{c}}{{{escape(METRIC_NAMES[column.metric])}}}")
        upper.append(rf"\multicolumn{{{len(columns)}}}{{c}}{{{escape(dataset_name(dataset))}}}")
        rules.append(rf"\cmidrule(lr){{{at}-{at + len(columns) - 1}}}")
        at += len(columns)
    lines = [rf"\begin{{tabular}}{{{spec}@{{}}}}", r"\toprule", _row(upper), "".join(rules), _row(lower)]
    for group in table.groups:
        lines.append(r"\midrule")
        lines.append(rf"\multicolumn{{{at - 1}}}{{@{{}}l}}{{\textit{{{escape(group.family)}}}}} \\")
        for row in group.rows:
            known = known_method(row.method)
            label = known.latex if known and known.latex else escape(row.label)
            lines.append(_row([label, *map(_number, row.cells)]))
    return [*lines, r"\bottomrule", r"\end{tabular}%"]


def _row(cells: list[str]) -> str:
    return " & ".join(cells) + r" \\"


def _number(cell: TableCell) -> str:
    text = escape(cell.text)
    if text.startswith("-") and cell.value is not None:
        text = f"$-${text[1:]}"
    if cell.best_baseline:
        text = rf"\uwave{{{text}}}"
    text = {"best": rf"\textbf{{{text}}}", "second": rf"\underline{{{text}}}", None: text}[cell.mark]
    if cell.starred:  # beside the digits, which stay in line with those above
        text += "$^{*}$" if cell.spread or cell.symbol else r"\rlap{$^{*}$}"
    if cell.spread:
        text += rf"{{\scriptsize$\,\pm\,${cell.spread}}}"
    return f"{text} {escape(cell.symbol)}" if cell.symbol else text


def _signature(signature: str) -> str:
    return escape(signature).replace(r"\textbar{}", r"|\allowbreak{}")  # a bar in every typewriter font
