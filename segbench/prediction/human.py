"""The annotation of a second person as a control: how far people agree."""

from __future__ import annotations

import numpy as np

from segbench.contract.view import Task
from segbench.data.dataset import Dataset, ImageRecord
from segbench.errors import SegbenchError
from segbench.prediction.controls import Shape, Truth


class Human(Truth):
    """Predict what a second person has annotated, on the images that they have annotated.

    Nothing is predicted where their annotation is void or a crowd.

    Args:
        dataset, task, seed: see `Control`; the seed changes nothing.

    Raises:
        SegbenchError: the evaluation split has no image with a second annotation.
    """

    def __init__(self, dataset: Dataset, task: Task, seed: int) -> None:
        super().__init__(dataset, task, seed)
        name = self.split.name
        if not dataset.info.twice.get(name):
            raise SegbenchError(
                f"no image of the split '{name}' has the annotation of a second person",
                where=dataset.root,
                remedy="let a second person annotate some of its images, or remove the option `second`",
            )
        self.split = self.split.second()

    def semantic(self, record: ImageRecord, shape: Shape) -> np.ndarray:
        found = self.split.read_semantic(record.stem)
        if self.semantic_view.overlapping:
            return found.clip(min=0)
        table = np.full(self.dataset.info.void + 1, -1)
        for category, index in self.semantic_view.index_of.items():
            table[category] = index
        return table[found]  # void (-1) selects the last entry
