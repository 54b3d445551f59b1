"""Names as the paper prints them (and its siblings' papers), and the row groups of its Table II, in one place."""

from dataclasses import dataclass

FAMILIES = ("Floors", "ID-based", "PLM-based", "ID+PLM", "Other")
"""Row groups in printing order; ``Other`` holds your own methods."""


@dataclass(frozen=True)
class MethodName:
    """A method's printed name, its family, and its LaTeX form where escaping the name is not enough.

    ``proposed``: it is the paper's own method or a variant of it, and no baseline.
    """

    text: str
    family: str
    latex: str | None = None
    proposed: bool = False


METHODS = {
    "constant": MethodName("Constant", "Floors"),
    "item_mean": MethodName("Item mean", "Floors"),
    "bias": MethodName("User and item bias", "Floors"),
    "linear": MethodName("LR", "Floors"),
    "afm": MethodName("AFM", "ID-based"),
    "pnn": MethodName("PNN", "ID-based"),
    "wide_deep": MethodName("Wide&Deep", "ID-based"),
    "dcn": MethodName("DCN", "ID-based"),
    "deepfm": MethodName("DeepFM", "ID-based"),
    "xdeepfm": MethodName("xDeepFM", "ID-based"),
    "afn": MethodName("AFN", "ID-based"),
    "autoint": MethodName("AutoInt", "ID-based"),
    "dcnv2": MethodName("DCNv2", "ID-based"),
    "dcnv2_mix": MethodName("DCNv2-Mix", "ID-based"),
    "ctr_bert": MethodName("CTR-BERT", "PLM-based"),
    "p5": MethodName("P5", "PLM-based"),
    "ptab": MethodName("PTab", "PLM-based"),
    "ctrl": MethodName("CTRL", "ID+PLM"),
    "flip_id": MethodName("FLIP_ID", "ID+PLM", r"FLIP\textsubscript{ID}", proposed=True),
    "flip_plm": MethodName("FLIP_PLM", "ID+PLM", r"FLIP\textsubscript{PLM}", proposed=True),
    "flip": MethodName("FLIP", "ID+PLM", proposed=True),
    # its siblings, which its tables lack
    "alt_id": MethodName("ALT_ID", "ID+PLM", r"ALT\textsubscript{ID}"),
    "alt_plm": MethodName("ALT_PLM", "ID+PLM", r"ALT\textsubscript{PLM}"),
    "alt": MethodName("ALT", "ID+PLM"),
    "clickprompt_id": MethodName("ClickPrompt_ID", "ID+PLM", r"ClickPrompt\textsubscript{ID}"),
    "clickprompt": MethodName("ClickPrompt", "ID+PLM"),
    # Table VII: FLIP with a part taken away
    "without_mlm": MethodName("w/o MLM", "ID+PLM", proposed=True),
    "without_mtm": MethodName("w/o MTM", "ID+PLM", proposed=True),
    "without_icl": MethodName("w/o ICL", "ID+PLM", proposed=True),
    "without_mlm_mtm": MethodName("w/o MLM&MTM", "ID+PLM", proposed=True),
    "without_mlm_mtm_icl": MethodName("w/o MLM&MTM&ICL", "ID+PLM", proposed=True),
    "without_field_level_masking": MethodName("w/o Field-level Masking", "ID+PLM", proposed=True),
    "without_joint_reconstruction": MethodName("w/o Joint Reconstruction", "ID+PLM", proposed=True),
}

DATASETS = {"movielens-1m": "MovieLens-1M", "bookcrossing": "BookCrossing", "goodreads": "GoodReads"}

TABLES = {"table2": "II", "table3": "III", "table4": "IV", "table5": "V", "table6": "VI", "table7": "VII"}
"""The paper's result tables by key, with the number it prints."""

BOLD_ONLY = frozenset({"table7"})
"""Tables whose caption speaks of the best value in bold and of no second one."""

GROUPS = {"none": "No PLM", "tinybert": "TinyBERT", "roberta": "RoBERTa", "roberta_large": "RoBERTa-Large"}
"""What stands before the slash in a row of Tables V and VI; in III and IV it is a method."""


CONDITIONS = {
    "known-users": "selected on known users",
    "last-ninth": "selected on the last ninth",
    "given": "selected on the given part",
    "refit": "refitted",
    "no-refit": "not refitted",
}
"""What a column's label may say beside row order and share of users."""


def method_name(row: str) -> str:
    """The printed name of a row or method; one without a printed name is printed as it is.

    Of a row in a group (``deepfm/flip_id``) the part after the slash; ``deepfm/none`` is the paper's N/A.
    """
    known = known_method(row)
    return "N/A" if row.endswith("/none") else known.text if known else row.rpartition("/")[2]


def known_method(row: str) -> MethodName | None:
    """What the paper calls a row's method; None for ``deepfm/none`` and for your own."""
    return METHODS.get(row.rpartition("/")[2])


def family(row: str, method: str | None = None) -> str:
    """The group that a row is printed in: what stands before its slash, else one of :data:`FAMILIES`.

    Args:
        row: label. method: the registered method behind it, where that is another name.
    """
    group, slash, _ = row.rpartition("/")
    if slash:
        return GROUPS.get(group) or method_name(group)
    known = METHODS.get(row) or METHODS.get(method or "")
    return known.family if known else "Other"


def row_name(row: str) -> str:
    """A row's printed name outside its table: with its group, where it has one (``DeepFM: FLIP_ID``)."""
    group, name = family(row), method_name(row)
    if row.startswith("none/"):
        return name
    return group if row.endswith("/none") else f"{group}: {name}" if "/" in row else name


def is_proposed(row: str, method: str | None = None) -> bool:
    """Whether a row is the paper's own method or a variant of it, so that all others are its baselines."""
    known = METHODS.get(method or "") or known_method(row)
    return known is not None and known.proposed


def dataset_name(dataset: str) -> str:
    """The printed name of a column: the data set's, and what its label has beside it (``NAME@random``)."""
    name, *conditions = dataset.split("@")
    return ", ".join([DATASETS.get(name, name), *(CONDITIONS.get(each, f"{each} split") for each in conditions)])
