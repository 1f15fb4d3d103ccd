"""The code that decides the weights of a training, apart from the network and what loads its weights."""

from __future__ import annotations

from segbench.contract.recipe import Recipe


def training_code(recipe: Recipe) -> list[str]:
    """Return the modules of the training whose code a fingerprint covers.

    The evaluation is one of them only if it selects the weights: a new metric retrains no other network.
    """
    selecting = ["segbench.evaluation.validation"] if recipe.select_by == "metric" else []
    return ["segbench.training.loop", *selecting]
