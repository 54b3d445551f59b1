"""What the runs say of the claims that the paper makes of this table or figure."""

from collections.abc import Iterable, Iterator

from flipbench.paper.claims import Claim, load_claims
from flipbench.plan.expand import Plan
from flipbench.report.cells import SuiteResults
from flipbench.report.claims import Evaluated, Judged, OurNumbers, Suite, evaluate, measurements
from flipbench.report.html.elements import Html, grid, interval, join, plural, probability, signed, tag
from flipbench.store.runs import Store


def claims(plan: Plan, store: Store, results: SuiteResults) -> Html:
    """Each claim with its verdict, folded over the statements behind it; empty where the paper claims nothing."""
    about = results.paper or results.suite
    stated = list(_about(load_claims(), about))
    if not stated:
        return Html()
    labels = tuple(entry.label for entry in plan.suite.data)
    suite = Suite(results, labels, *measurements(plan, store))
    numbers = OurNumbers(lambda name: suite if name == about else None)
    return join((_claim(evaluate(claim, numbers), partial) for claim, partial in stated), "\n")


def _about(every: Iterable[Claim], table: str) -> Iterator[tuple[Claim, bool]]:
    """Claims cut to what they state of ``table``, and whether something was cut."""
    for claim in every:
        holds = [statement for statement in claim.holds if statement.table == table]
        if holds:
            yield claim.model_copy(update={"holds": holds}), len(holds) < len(claim.holds)


def _claim(evaluated: Evaluated, partial: bool) -> Html:
    claim = evaluated.claim
    verdict = tag("span", evaluated.outcome, class_=f"outcome {evaluated.outcome.replace(' ', '-')}")
    words = f"{claim.claim[0].upper()}{claim.claim[1:]}."
    where = f"Paper: {claim.where}. Its own numbers: {evaluated.paper}."
    if partial:
        where += " Shown is the part of the claim that is about this table."
    against = [tag("ul", *(tag("li", line) for line in evaluated.against))] if evaluated.against else []
    return tag(
        "details",
        tag("summary", verdict, tag("span", words)),
        tag("p", where, class_="note"),
        *against,
        *_statements(evaluated.evidence),
        class_="claim",
    )


def _statements(evidence: tuple[Judged, ...]) -> Iterator[Html]:
    """Those with runs; the others are counted."""
    ran = [j for j in evidence if j.outcome != "not run"]
    if ran:
        columns = ["Statement", "Where", "Here", "Gain", "Interval", "p", "Seeds", "Runs"]
        yield grid("Statements of the claim", columns, map(_statement, ran), words=["Where", "Here", "Runs"])
    missing = len(evidence) - len(ran)
    if missing:
        yield tag("p", f"{plural(missing, 'statement')} not run.", class_="note")


def _statement(j: Judged) -> list[str]:
    return [
        j.words,
        j.where,
        j.outcome,
        "—" if j.gain is None else signed(j.gain),
        "—" if j.low is None or j.high is None else interval(j.low, j.high),
        "—" if j.p is None else probability(j.p),
        str(j.seeds or "—"),
        tag("details", tag("summary", plural(len(j.keys), "run")), tag("code", " ".join(key[:12] for key in j.keys))),
    ]
