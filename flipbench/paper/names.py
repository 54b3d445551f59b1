"""Names as the paper prints them, and the row groups of its Table II, in one place."""

from dataclasses import dataclass

FAMILIES = ("ID-based", "PLM-based", "ID+PLM", "Other")
"""Row groups in printing order; ``Other`` holds methods that are not in the paper."""


@dataclass(frozen=True)
class MethodName:
    """A method's printed name, its family, and its LaTeX form where escaping the name is not enough."""

    text: str
    family: str
    latex: str | None = None


METHODS = {
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
    "flip_id": MethodName("FLIP_ID", "ID+PLM", r"FLIP\textsubscript{ID}"),
    "flip_plm": MethodName("FLIP_PLM", "ID+PLM", r"FLIP\textsubscript{PLM}"),
    "flip": MethodName("FLIP", "ID+PLM"),
    # Table VII: FLIP with a part taken away
    "without_mlm": MethodName("w/o MLM", "ID+PLM"),
    "without_mtm": MethodName("w/o MTM", "ID+PLM"),
    "without_icl": MethodName("w/o ICL", "ID+PLM"),
    "without_mlm_mtm": MethodName("w/o MLM&MTM", "ID+PLM"),
    "without_mlm_mtm_icl": MethodName("w/o MLM&MTM&ICL", "ID+PLM"),
    "without_field_level_masking": MethodName("w/o Field-level Masking", "ID+PLM"),
    "without_joint_reconstruction": MethodName("w/o Joint Reconstruction", "ID+PLM"),
}

DATASETS = {"movielens-1m": "MovieLens-1M", "bookcrossing": "BookCrossing", "goodreads": "GoodReads"}

TABLES = {"table2": "II", "table3": "III", "table4": "IV", "table5": "V", "table6": "VI", "table7": "VII"}
"""The paper's result tables by key, with the number it prints."""


def method_name(method: str) -> str:
    """The printed name; a name that the paper does not know is printed as it is."""
    return METHODS[method].text if method in METHODS else method


def family(method: str) -> str:
    """One of :data:`FAMILIES`."""
    return METHODS[method].family if method in METHODS else "Other"


def dataset_name(dataset: str) -> str:
    """The printed name of a column: the data set's, and its row order where the label has one (``NAME@random``)."""
    name, _, order = dataset.partition("@")
    return DATASETS.get(name, name) + (f", {order} split" if order else "")
