"""The paper's claims as predicates, held against its own numbers."""

import pytest

from flipbench.errors import UserError
from flipbench.paper import claims, names
from flipbench.paper.audit import audit
from flipbench.paper.claims import PaperNumbers, Statement, load_claims, of_paper, terms

PAPERS_OWN = {
    **dict.fromkeys((1, 3, 4, 7, 8, 9, 11, 13, 15, 17, 19), "supported"),
    **dict.fromkeys((6, 10, 12, 14, 16, 18), "refuted"),
    **dict.fromkeys((2, 5, 25), "untested"),
    **dict.fromkeys((20, 21, 22, 23, 24), "not printed"),
}


def test_what_the_papers_own_numbers_say_of_each_claim() -> None:
    assert {claim.id: of_paper(claim)[0] for claim in load_claims()} == PAPERS_OWN


def test_the_numbers_that_contradict_the_prose_are_named() -> None:
    against = {claim.id: of_paper(claim)[1] for claim in load_claims() if PAPERS_OWN[claim.id] == "refuted"}
    assert [len(found) for found in against.values()] == [3, 1, 1, 1, 2, 1]
    assert against[6] == [
        "table2 movielens-1m logloss: flip_plm > ctr_bert fails by -0.0030",
        "table2 bookcrossing logloss: flip_plm > ctr_bert fails by -0.0033",
        "table2 bookcrossing logloss: flip_plm > p5 fails by -0.0072",
    ]
    assert against[10] == ["table3 movielens-1m logloss: deepfm/flip > deepfm/flip_id fails by -0.0006"]
    assert against[12] == ["table6 bookcrossing logloss: roberta_large/flip_plm > none/dcnv2 fails by -0.0177"]
    assert against[14][0].endswith("fails by -0.0003")
    assert against[18] == ["table7 movielens-1m logloss: flip > without_field_level_masking fails by -0.0003"]


def test_the_gains_in_the_prose_are_those_of_the_table() -> None:
    (statement,) = next(claim for claim in load_claims() if claim.id == 3).holds
    found = {t.dataset: claims.gains(t, PaperNumbers())[0] for t in terms(statement, PaperNumbers())}
    assert found == pytest.approx({"movielens-1m": 0.0049, "bookcrossing": 0.0076, "goodreads": 0.0046})


@pytest.mark.parametrize(
    ("statement", "count"),
    [
        ({"table": "table2", "better": "flip", "than": "baselines"}, 13 * 3 * 2),
        ({"table": "table2", "better": "flip", "than": "baselines", "best_of": True}, 3 * 2),
        ({"table": "table2", "better": "id", "than": "plm"}, 9 * 3 * 3 * 2),
        ({"table": "table2", "better": "ctrl", "than": "baselines"}, 12 * 3 * 2),
        ({"table": "table3", "better": "*/flip_id", "than": "*/none"}, 3 * 2),
        ({"table": "table5", "better": ["*/flip", "*/flip_id"], "than": "none/dcnv2", "metrics": ["auc"]}, 6),
    ],
)
def test_sets_and_patterns_mean_the_rows_they_say(statement: dict[str, object], count: int) -> None:
    found = list(terms(Statement.model_validate(statement), PaperNumbers()))
    assert len(found) == count
    assert all(len(t.weights) == 2 for t in found)


def test_every_row_and_table_that_a_claim_names_exists() -> None:
    """A misspelled row would make a claim ``not run`` for ever."""
    from flipbench.plan import suite

    for claim in load_claims():
        for statement in claim.holds:
            if statement.table in names.TABLES:
                known = set(PaperNumbers().rows(statement.table))
            else:
                known = {m.label for m in suite.load(statement.table).methods}
            named = [*statement.better, *statement.than, *statement.sum]
            assert {row for row in named if row not in ("baselines", "id", "plm") and "*" not in row} <= known


def test_claims_are_numbered_once_and_an_unknown_key_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [claim.id for claim in load_claims()] == list(range(1, 26))
    monkeypatch.setattr(claims.yamlfile, "load", lambda path: [{"id": 1, "claim": "c", "where": "w", "hold": []}])
    claims.load_claims.cache_clear()
    try:
        with pytest.raises(UserError, match=r"claims.yaml: holds: Field required"):
            load_claims()
    finally:
        monkeypatch.undo()
        claims.load_claims.cache_clear()


def test_the_audit_finds_what_is_known_to_be_off() -> None:
    findings = audit()
    off = [f for f in findings if not f.agrees]
    assert [f.where for f in off if f.check == "printed twice"] == ["Table IV autoint/none bookcrossing auc"]
    assert [(f.printed, f.found) for f in off if f.check == "printed twice"] == [("0.7943", "0.7953 in Table II")]
    assert [f for f in off if f.check == "Rel.Impr"] == []
    assert sum(f.check == "Rel.Impr" for f in findings) == 39
    assert [f.where.split()[1] for f in off if f.check == "prose"] == ["6", "10", "12", "14", "16", "18"]
    twice = {f.where for f in findings if f.check == "printed twice"}
    assert "Table VII flip movielens-1m logloss" in twice
    assert "Table V tinybert/flip movielens-1m auc" in twice
    assert "Table V roberta/flip movielens-1m auc" not in twice


def test_groups_of_rows() -> None:
    assert names.family("deepfm/flip_id") == "DeepFM"
    assert names.family("roberta_large/flip") == "RoBERTa-Large"
    assert names.family("none/dcnv2") == "No PLM"
    assert names.family("dcnv2_bfloat16", "dcnv2") == "ID-based"
    assert names.family("mine", "mine_too") == "Other"
    assert [names.method_name(row) for row in ("deepfm/none", "deepfm/flip_id", "none/dcnv2", "mine")] == [
        "N/A", "FLIP_ID", "DCNv2", "mine",
    ]  # fmt: skip
    proposed = ("flip", "deepfm/flip_plm", "without_icl")
    assert all(names.is_proposed(row) for row in proposed)
    assert names.is_proposed("temperature_0.5", "flip")
    assert not any(names.is_proposed(row) for row in ("ctrl", "dcnv2/none", "none/dcnv2", "mine"))
