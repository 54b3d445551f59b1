"""The paper's numbers by name."""

import pytest

from flipbench.errors import UserError
from flipbench.paper.names import dataset_name, family, method_name
from flipbench.paper.values import load_tables, paper_datasets, paper_methods, paper_value


def test_known_values() -> None:
    assert paper_value("table2", "dcnv2", "movielens-1m", "auc") == 0.8548
    assert paper_value("table2", "flip", "goodreads", "logloss") == 0.5001
    assert paper_value("table4", "autoint/none", "bookcrossing", "auc") == 0.7943  # Table II prints .7953
    assert paper_value("table6", "roberta_large/flip", "bookcrossing", "logloss") == 0.4986
    assert paper_value("table7", "without_icl", "movielens-1m", "auc") == 0.8618


def test_what_the_paper_does_not_print_is_none() -> None:
    assert paper_value("table2", "my_model", "movielens-1m", "auc") is None
    assert paper_value("table2", "dcnv2", "planted-tiny", "auc") is None
    assert paper_value("table7", "flip", "goodreads", "auc") is None


def test_every_cell_of_every_table_has_both_metrics() -> None:
    cells = 0
    for table in ("table2", "table3", "table4", "table5", "table6", "table7"):
        for method in paper_methods(table):
            for dataset in paper_datasets(table):
                auc, loss = (paper_value(table, method, dataset, metric) for metric in ("auc", "logloss"))
                assert auc is not None
                assert loss is not None
                assert 0.7 < auc < 0.9
                assert 0.3 < loss < 0.6
                cells += 1
    assert cells == 16 * 3 + 12 * 2 + 10 * 2 + 8 * 2


def test_unknown_table() -> None:
    with pytest.raises(UserError, match="did you mean 'table2'"):
        paper_methods("table_2")
    with pytest.raises(UserError, match="no result table 'figures'"):
        paper_value("figures", "flip", "movielens-1m", "auc")


def test_every_method_of_table_2_has_a_name_and_a_family() -> None:
    names = [method_name(method) for method in load_tables()["table2"]]
    assert names[2] == "Wide&Deep"
    assert not set(names) & set(load_tables()["table2"])
    assert {family(method) for method in load_tables()["table2"]} == {"ID-based", "PLM-based", "ID+PLM"}
    assert (method_name("my_model"), family("my_model"), dataset_name("mine")) == ("my_model", "Other", "mine")
    assert [dataset_name(d) for d in paper_datasets("table2")] == ["MovieLens-1M", "BookCrossing", "GoodReads"]
