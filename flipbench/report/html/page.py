"""The page: its parts in order, its style and script inside, and a policy that lets nothing else in."""

from base64 import b64encode
from collections.abc import Iterable
from hashlib import sha256
from importlib.resources import files
from pathlib import Path

from flipbench.plan.expand import Plan
from flipbench.report.cells import SuiteResults
from flipbench.report.html.claims import claims
from flipbench.report.html.elements import Html, join, plural, tag
from flipbench.report.html.evidence import evidence, ids
from flipbench.report.html.figures import DRAWN_BY, drawn_by, figures
from flipbench.report.html.results import results as result_tables
from flipbench.report.table import overall_table
from flipbench.store.runs import Store


def to_html(plan: Plan, store: Store, results: SuiteResults, pictures: Iterable[Path] = ()) -> str:
    """One self-contained page; ends in a newline. The same results give the same bytes.

    Args:
        plan, store, results: as :func:`flipbench.cli.common.results_of` gives them.
        pictures: files of :func:`flipbench.report.figures.write_figures`, to be shown.

    Raises:
        UserError: the paper has no such table, a run's files were changed, or a picture cannot be read.
    """
    table = overall_table(results)
    places = ids(results)
    sections = []
    if results.cells:
        sentences = table.sentences(baseline="with a wavy underline")
        notes = tag("ul", *(tag("li", sentence) for sentence in sentences), class_="note")
        tables = result_tables(table, lambda row, dataset: places.get((row, dataset)))
        sections.append(("results", "Results", join([tables, notes])))
    drawn = figures(pictures, results.suite)
    sections += [
        ("figures", "Figures", drawn),
        ("claims", "Claims of the paper", claims(plan, store, results)),
        ("evidence", "Evidence", evidence(plan, store, results, table)),
    ]
    return _page(table.title, results, table.signature, [s for s in sections if s[2]], drawn_by() if drawn else "")


def _page(
    title: str, results: SuiteResults, signature: str, sections: Iterable[tuple[str, str, Html]], drawn: str
) -> str:
    """The document around sections of id, heading and content."""
    style, script = (Html(files(__package__).joinpath(n).read_text("utf-8")) for n in ("style.css", "script.js"))
    sections = list(sections)
    runs = sum(len(cell.runs) for cell in results.cells)
    facts = [results.suite, f"protocol {results.protocol}", plural(results.seeds, "seed"), plural(runs, "run")]
    links = (tag("li", tag("a", heading, href=f"#{place}")) for place, heading, _ in sections)
    content = (
        tag("section", tag("h2", heading, id=f"{place}-heading"), inside, id=place, aria_labelledby=f"{place}-heading")
        for place, heading, inside in sections
    )
    body = join(
        [
            tag("a", "Skip to the content", href="#content", class_="skip"),
            tag("header", tag("p", " · ".join(facts)), tag("h1", title)),
            tag("nav", tag("ul", *links), aria_label="Contents"),
            tag("main", join(content, "\n"), id="content", tabindex=-1),
            tag("footer", tag("p", "Signature, to quote with a number: ", tag("code", signature))),
            tag("p", role="status", class_="heard"),
            _DIALOG,
            tag("script", script),
        ],
        "\n",
    )
    head = join(
        [
            tag("meta", charset="utf-8"),
            tag("meta", http_equiv="Content-Security-Policy", content=_policy(style, script)),
            tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
            tag("meta", name="color-scheme", content="light dark"),
            *([tag("meta", name=DRAWN_BY, content=drawn)] if drawn else []),
            tag("title", f"{title} · flipbench"),
            tag("style", style),
        ],
        "\n",
    )
    return f'<!doctype html>\n<html lang="en">\n<head>\n{head}\n</head>\n<body>\n{body}\n</body>\n</html>\n'


_DIALOG = tag(
    "dialog",
    tag("header", tag("h3", id="dialog-heading"), tag("button", "Close", type="button")),
    tag("div"),
    aria_labelledby="dialog-heading",
)


def _policy(style: str, script: str) -> str:
    """Nothing is loaded, and no style or script but these runs, whatever a name in a suite may hold."""

    def digest(text: str) -> str:
        return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"

    return (
        f"default-src 'none'; img-src data:; style-src {digest(style)}; script-src {digest(script)}; "
        "base-uri 'none'; form-action 'none'"
    )
