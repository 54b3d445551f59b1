"""CTRL."""

from typing import ClassVar

from flipbench.methods.flip.methods import FLIPID
from flipbench.methods.flip.settings import ID_SETTINGS, PLM_PARTS
from flipbench.plan.settings import Guess, Paper, Settings, Valid


class CTRL(FLIPID):
    """ID-based model that a PLM teaches through contrast alone, then finetuned by itself (Li et al., TORS 2025).

    The alignment is FLIP's without MLM and MTM (FLIP, eq. 11-13), between the parts z^1 .. z^H of either projection:

    sim(table, text) = Σ_p max_q ⟨z_table^p, z_text^q⟩        (``icl_similarity: max``)

    With ``dot``, the plain product, it is the very pretraining of FLIP "w/o MLM&MTM" (Table VII): one run serves both.
    FLIP's released code has no CTRL, only a function of this similarity that nothing calls: flavour ``released`` is
    its modules and FLIP_ID's finetuning.
    """

    version: ClassVar[int] = 1
    settings: ClassVar[Settings] = {
        "pretrain": {
            "mlm": Paper(False, "II: CTRL aligns instances alone"),
            "mtm": Paper(False, "II: CTRL aligns instances alone"),
            "icl_similarity": Guess(
                "max", "arXiv 2306.02841, from memory; Table II's is not said", ("dot", "unit", "max")
            ),
            "icl_parts": Guess(4, "arXiv 2306.02841 searches it; its choice is not known here", Valid.WIDTH),
        },
        **{name: setting for name, setting in ID_SETTINGS.items() if name not in PLM_PARTS},
    }
