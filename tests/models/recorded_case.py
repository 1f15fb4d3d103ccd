"""Inputs on which heads of other libraries ran once, and the form in which tests contain their outputs."""

import numpy as np
import torch

OBJECTS = (  # of each image: class, x0, y0, x1, y1; the last of the first image lies over others
    [(0, 8, 10, 40, 31), (1, 60, 5, 145, 85), (0, 20, 52, 47, 80), (1, 30, 48, 63, 84)],
    [(1, 90, 30, 126, 57), (0, 3, 2, 15, 14)],
)


def pyramid(sizes, channels=32):
    """Return the feature levels of two images: normal numbers of NumPy's frozen generator."""
    random = np.random.RandomState(0)
    return [torch.from_numpy(random.standard_normal((2, channels, *size))).float() for size in sizes]


def ellipses(height, width):
    """Return targets of two images: an ellipse in each box of `OBJECTS`."""
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    targets = []
    for objects in OBJECTS:
        masks = [
            ((2 * x + 1 - x0 - x1) / (x1 - x0)) ** 2 + ((2 * y + 1 - y0 - y1) / (y1 - y0)) ** 2 < 1
            for _, x0, y0, x1, y1 in objects
        ]
        targets.append(
            {
                "boxes": torch.tensor([box for _, *box in objects], dtype=torch.float32),
                "masks": torch.stack(masks),
                "labels": torch.tensor([label for label, *_ in objects]),
                "image_id": 0,
                "valid": torch.ones(height, width, dtype=torch.bool),
            }
        )
    return targets


def numbers(text):
    return torch.tensor([float(word) for word in text.split()])
