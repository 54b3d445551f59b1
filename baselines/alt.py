"""ALT: what FLIP was called in its first version, with three finetunings to choose from by their cost."""

from typing import ClassVar

from flipbench.methods.flip.methods import FLIP, FLIPID, FLIPPLM


class ALT(FLIP):
    """Both aligned models finetuned and served together (Wang et al., arXiv 2310.19453v1)."""

    version: ClassVar[int] = 1


class ALTID(FLIPID):
    """The aligned ID-based model finetuned alone: as cheap to serve as any (Wang et al., arXiv 2310.19453v1)."""

    version: ClassVar[int] = 1


class ALTPLM(FLIPPLM):
    """The aligned PLM finetuned alone (Wang et al., arXiv 2310.19453v1)."""

    version: ClassVar[int] = 1
