"""``transformers`` without its progress bars, advice and warnings: errors are ours to word."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet() -> Iterator[None]:
    """Silence the libraries within the block, and leave them as they were."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from huggingface_hub.utils import logging as hub
        from huggingface_hub.utils.tqdm import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars
        from transformers.utils import logging as models

        hub_level, hub_bars = hub.get_verbosity(), not are_progress_bars_disabled()
        level, bars = models.get_verbosity(), models.is_progress_bar_enabled()
        hub.set_verbosity(logging.CRITICAL)
        models.set_verbosity(logging.CRITICAL)
        disable_progress_bars()
        models.disable_progress_bar()  # type: ignore[no-untyped-call]
        try:
            yield
        finally:
            hub.set_verbosity(hub_level)
            models.set_verbosity(level)
            if hub_bars:
                enable_progress_bars()
            if bars:
                models.enable_progress_bar()  # type: ignore[no-untyped-call]
