"""What to cite for a method, a data set, a PLM and numbers that others publish: keys of ``citations.bib``."""

import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files

import flipbench

PAPER = "wang2024flip"
"""The paper whose numbers and claims are tested."""

_ALT, _CLICKPROMPT = "wang2023alt", "lin2024clickprompt"

METHODS: Mapping[str, tuple[str, ...]] = {
    "constant": ("he2014practical",),  # normalised entropy divides by it
    "item_mean": (),  # an average
    "bias": ("koren2008factorization",),  # its baseline estimates, here of a logit
    "linear": ("richardson2007predicting",),
    "afm": ("xiao2017afm",),
    "pnn": ("qu2016pnn",),
    "wide_deep": ("cheng2016widedeep",),
    "dcn": ("wang2017dcn",),
    "deepfm": ("guo2017deepfm",),
    "xdeepfm": ("lian2018xdeepfm",),
    "afn": ("cheng2020afn",),
    "autoint": ("song2019autoint",),
    "dcnv2": ("wang2021dcnv2",),
    "dcnv2_mix": ("wang2021dcnv2",),
    "ctr_bert": ("muhamed2021ctrbert",),
    "ptab": ("liu2022ptab",),
    "p5": ("geng2022p5",),
    "ctrl": ("li2023ctrl",),
    "flip": (PAPER,),
    "flip_id": (PAPER,),
    "flip_plm": (PAPER,),
    "alt": (_ALT,),
    "alt_id": (_ALT,),
    "alt_plm": (_ALT,),
    "clickprompt": (_CLICKPROMPT,),
    "clickprompt_id": (_CLICKPROMPT,),
    "pretraining": (PAPER,),
    "mlm": ("devlin2019bert",),
    "pa_mlm": (_CLICKPROMPT,),
}
"""By registered name of a method or pretraining; nothing for what has no source."""

_GOODREADS = ("wan2018item", "wan2019spoiler")

DATASETS: Mapping[str, tuple[str, ...]] = {
    "movielens-1m": ("harper2015movielens",),
    "bookcrossing": ("ziegler2005improving",),
    "goodreads": _GOODREADS,
    "goodreads-4m": _GOODREADS,
    "amazon-toys": ("ni2019justifying",),
    "planted-tiny": (),
    "planted-small": (),
    "planted-rare": (),
}
"""By registered name; nothing for what flipbench generates."""

PLMS: Mapping[str, tuple[str, ...]] = {
    "TinyBERT_General_4L_312D": ("jiao2020tinybert",),
    "roberta-base": ("liu2019roberta",),
    "roberta-large": ("liu2019roberta",),
    "t5-small": ("raffel2020t5",),
    "all-MiniLM-L6-v2": ("wang2020minilm", "reimers2019sentencebert"),
}
"""By the last part of a hub id or folder."""

PUBLISHED: Mapping[str, tuple[str, ...]] = {"recbole-ml-1m": ("zhao2021recbole",)}
"""By key of ``others.yaml``."""

FLIPBENCH = f"""\
@software{{flipbench,
  title = {{flipbench: A Reproducibility Benchmark for {{CTR}} Prediction with Language Models}},
  author = {{{{The flipbench authors}}}},
  version = {{{flipbench.__version__}}},
}}"""
"""flipbench's own entry."""


@cache
def entries() -> Mapping[str, str]:
    """Every entry of ``citations.bib`` by its key, in the order of the file."""
    text = files("flipbench.paper").joinpath("citations.bib").read_text("utf-8")
    return {found[1]: found[0] for found in re.finditer(r"^@\w+\{([^,\s]+),$.*?^\}$", text, re.MULTILINE | re.DOTALL)}
