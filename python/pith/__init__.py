"""Mamba-family language models that read long prompts at a fraction of the work.

    import pith

    model = pith.Model("models/pith-27m-mamba2")
    print(model.generate("The old man", reduce="utrc@30%", max_tokens=40).text)

What ``reduce`` takes is a reduction's text, as on pith's command line ("none", "utrc@30%",
"skim", ...), or what ``Model.reduction`` or ``Model.policy`` made of it.
"""

from ._pith import (
    CancelledError,
    CorruptDataError,
    Error,
    Generation,
    InspectReport,
    InvalidArgumentError,
    IoError,
    ModelInfo,
    NotFoundError,
    Perplexity,
    PlanReport,
    PrefillReport,
    Reduction,
    Score,
    SiteRows,
    TokenFate,
    TokenLogprob,
    UnsupportedError,
    __version__,
    list_reductions,
)
from .evaluation import Evaluation, evaluate
from .model import Model, PolicySite, Session, TextStream

__all__ = [
    "CancelledError",
    "CorruptDataError",
    "Error",
    "Evaluation",
    "Generation",
    "InspectReport",
    "InvalidArgumentError",
    "IoError",
    "Model",
    "ModelInfo",
    "NotFoundError",
    "Perplexity",
    "PlanReport",
    "PolicySite",
    "PrefillReport",
    "Reduction",
    "Score",
    "Session",
    "SiteRows",
    "TextStream",
    "TokenFate",
    "TokenLogprob",
    "UnsupportedError",
    "__version__",
    "evaluate",
    "list_reductions",
]
