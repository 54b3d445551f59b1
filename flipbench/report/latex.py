"""The table as a LaTeX float (booktabs), in the form of the paper's Table II with the paper's values in grey."""

import re
import unicodedata

from flipbench.paper.names import dataset_name, known_method
from flipbench.printable import one_line
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

_COMMANDS = (
    "α alpha β beta γ gamma δ delta ε varepsilon ϵ epsilon ζ zeta η eta θ theta ϑ vartheta ι iota κ kappa λ lambda "
    "μ mu µ mu ν nu ξ xi π pi ϖ varpi ρ rho ϱ varrho σ sigma ς varsigma τ tau υ upsilon φ varphi ϕ phi χ chi ψ psi "
    "ω omega Γ Gamma Δ Delta ∆ Delta Θ Theta Λ Lambda Ξ Xi Π Pi Σ Sigma Υ Upsilon Φ Phi Ψ Psi Ω Omega "
    "± pm ∓ mp × times ÷ div · cdot ∗ ast ∘ circ • bullet ⋆ star ≈ approx ≤ le ≥ ge ≠ ne ≡ equiv ≪ ll ≫ gg ∼ sim "
    "≃ simeq ≅ cong ∝ propto → rightarrow ← leftarrow ↔ leftrightarrow ↑ uparrow ↓ downarrow ↦ mapsto "
    "⇒ Rightarrow ⇐ Leftarrow ⇔ Leftrightarrow ∞ infty ∂ partial ∇ nabla ∑ sum ∏ prod ∫ int √ surd ∈ in ∉ notin "
    "⊂ subset ⊆ subseteq ∪ cup ∩ cap ∅ emptyset ∀ forall ∃ exists ¬ neg ∧ wedge ∨ vee ⊕ oplus ⊗ otimes ⊘ oslash "
    "⊥ perp ∥ parallel ⟨ langle ⟩ rangle ℓ ell … ldots † dagger ‡ ddagger © copyright"
)
"""Signs and their commands in LaTeX's mathematics, in turn; no package is needed for them."""

_RAISED = dict(zip("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿ°′", [*"0123456789+-n", r"\circ", r"\prime"], strict=True))
_LOWERED = dict(zip("₀₁₂₃₄₅₆₇₈₉₊₋", "0123456789+-", strict=True))

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
        "−": "$-$",
        "‐": "-",
        "‑": "-",
        "“": "``",
        "”": "''",
        "‘": "`",
        "’": "'",
        "§": r"\S{}",
        "\u00ad": r"\-",  # soft hyphen
        "\u200b": r"\hspace{0pt}",  # zero-width space
        **dict(zip("ΑΒΕΖΗΙΚΜΝΟΡΤΧο", "ABEZHIKMNOPTXo", strict=True)),  # Greek letters that look like Latin ones
        **{sign: rf"$\{name}$" for sign, name in zip(_COMMANDS.split()[::2], _COMMANDS.split()[1::2], strict=True)},
        **{sign: f"$^{{{text}}}$" for sign, text in _RAISED.items()},
        **{sign: f"$_{{{text}}}$" for sign, text in _LOWERED.items()},
        "[": "{[}",  # else an argument of the \\ before it
        "]": "{]}",
        "*": "{*}",
        **{character: f"\\{character}" for character in "&%$#_{}"},
    }
)

_ACCENTED = re.compile("[A-Za-z][\u0300-\u0304\u0306-\u0308\u030a-\u030c\u0327]?")
"""A letter that pdfLaTeX has in its default fonts, as its parts."""


def to_latex(table: ResultTable) -> str:
    """A complete ``table*`` float; ends in a newline.

    A comment at its top names the packages to load and, for characters that pdfLaTeX lacks, the engines that have them.
    """
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
    if others := "".join(sorted({character for line in lines for character in line if not _in_pdflatex(character)})):
        lines.insert(1, f"% engine: XeLaTeX or LuaLaTeX, and a font that has {others}")
    return "\n".join([*lines, ""])


def escape(text: str) -> str:
    """Text that LaTeX prints as it is, on one line."""
    return one_line(" ".join(unicodedata.normalize("NFC", text).split())).translate(ESCAPES)


def _in_pdflatex(character: str) -> bool:
    if character.isascii() or character in "¡¿£ßæÆøØœŒłŁı":
        return True
    return character <= "ſ" and _ACCENTED.fullmatch(unicodedata.normalize("NFD", character)) is not None


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
            lines.append(_row([f"{label}{escape(row.mark)}", *map(_number, row.cells)]))
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
