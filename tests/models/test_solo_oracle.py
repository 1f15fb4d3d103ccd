"""Equality with mmdetection 3.3.0's `SOLOHead` and `SOLOV2Head`, which ran once on what `case` gives.

Their layers had our weights, in order. Below stands what they answered: every 19th class logit, every so many
of the other outputs, class of each cell (level after level, row after row; "." is background), both losses,
and of the detections of each image the number and every 20th.
"""

import pytest
import torch
from mapped_weights import fill
from network_tester import make_view
from recorded_case import ellipses, numbers, pyramid

from segbench.models.losses.segments import segments_of
from segbench.models.solo import SOLO, SOLOv2
from segbench.models.solo.grid import assign

SIZE = (90, 150)  # padded to 96 x 160
OPTIONS = {
    "backbone": "test_resnet",
    "fpn_channels": 32,
    "head_channels": 64,
    "convolutions": 2,
    "grids": [7, 6, 5, 4, 3],
    "scale_ranges": [(1, 40), (20, 50), (24, 60), (30, 80), (40, 200)],
    "centre_size": 0.6,
}
NETWORKS = {SOLO: OPTIONS, SOLOv2: OPTIONS | {"mask_channels": 64, "kernel_channels": 64}}


def case(network):
    """A network with reproducible weights, five levels of features, and targets."""
    ours = network(make_view("instance"), 3, **NETWORKS[network]).eval()
    fill([child for name, child in ours.named_children() if name not in ("backbone", "fpn")])
    return ours, pyramid([(24, 40), (12, 20), (6, 10), (3, 5), (2, 3)]), ellipses(*SIZE)


CELLS = [
    "00.....00.............11.....11.....11........... 00....00..........011...011........."
    " 00...00...01...01........ ........11..11.. .11.11.11",
    "0.................11.....11...................... ...............11....11............."
    " ........1....1........... ......1...1..... .........",
]
CATEGORIES = """
-0.45593 0.14675 -1.49371 -0.69919 -0.35034 -1.22094 -1.31267 -1.0591 0.52667 -0.47676 -1.02871 -1.10577
-0.62564 -0.80179 -0.76971 -0.88787 -0.25706 -0.56053 -0.42456 -0.23823 -0.41684 -0.17614 0.45013
-0.67453 0.35824 -0.20788 -1.11545 0.1272 -0.26181
"""
MASKS = {
    SOLO: """
0.25552 -0.62281 0.93424 0.44025 -0.08191 0.20178 0.9742 0.58704 0.49849 -1.18723 0.30179 0.65982
0.98507 0.04031 -0.12078 0.17439 0.45524 0.06824
""",
    SOLOv2: """
-0.04512 0.17671 0.38552 0.28811 1.0164 0.35143 0.92223 0.7954 0.2526 0.0 0.76193 0.0 0.0 0.0 1.27937
0.05336 0.89223 0.0
""",
}
MASK_STEPS = {SOLO: 9973, SOLOv2: 7919}
LOSSES = {SOLO: {"category": 0.83232, "mask": 2.37334}, SOLOv2: {"category": 0.83232, "mask": 2.90621}}
DETECTIONS = {  # of each image: number, then scores, labels and areas of every 20th
    SOLO: [
        (
            88,
            [0.47092, 0.2314, 0.18555, 0.10138, 0.06262],
            [1, 1, 0, 0, 1],
            [12995, 3749, 6969, 12549, 13080],
        ),
        (93, [0.3944, 0.2402, 0.17261, 0.10485, 0.07081], [1, 1, 0, 1, 1], [13500, 2387, 5550, 10564, 12525]),
    ],
    SOLOv2: [
        (79, [0.65783, 0.24121, 0.15023, 0.09582], [1, 0, 1, 1], [13153, 103, 10969, 11585]),
        (74, [0.62208, 0.20496, 0.10033, 0.06287], [1, 0, 1, 0], [13500, 5939, 11079, 11714]),
    ],
}


@pytest.mark.parametrize("network", NETWORKS)
def test_outputs_equal_mmdetections(network):
    ours, features, _ = case(network)
    categories, masks = ours.decode(features)
    found = torch.cat([c.flatten() for c in categories])[::19]
    torch.testing.assert_close(found, numbers(CATEGORIES), rtol=0, atol=1e-4)
    parts = masks if network is SOLO else [*masks.kernels, masks.features]
    found = torch.cat([part.flatten() for part in parts])[:: MASK_STEPS[network]]
    torch.testing.assert_close(found, numbers(MASKS[network]), rtol=0, atol=1e-4)


def test_cells_equal_mmdetections():
    """Objects in several grids at once; cells that two objects hit belong to the last."""
    _, _, targets = case(SOLO)
    truth, boxes = segments_of("instance", targets), torch.cat([t["boxes"] for t in targets])
    options = (OPTIONS[name] for name in ("grids", "scale_ranges", "centre_size"))
    cells = assign(truth, boxes, (96, 160), *options)
    labels = cells.labels(truth, 2)
    assert ["".join("01."[k] for k in row) for row in labels.tolist()] == [c.replace(" ", "") for c in CELLS]
    assert len(cells.cell) > (cells.owner >= 0).sum() == (labels < 2).sum()


@pytest.mark.parametrize("network", NETWORKS)
def test_losses_equal_mmdetections(network, monkeypatch):
    ours, features, targets = case(network)
    monkeypatch.setattr(ours, "forward", lambda images: ours.decode(features))
    losses = {k: float(v.detach()) for k, v in ours.losses(torch.zeros(2, 3, *SIZE), targets).items()}
    assert losses == pytest.approx(LOSSES[network], abs=1e-4)


@pytest.mark.parametrize("network", NETWORKS)
def test_detections_equal_mmdetections(network, monkeypatch):
    ours, features, _ = case(network)
    monkeypatch.setattr(ours, "forward", lambda images: ours.decode(features))
    found = ours.predict(torch.zeros(2, 3, *SIZE), [SIZE] * 2)
    for one, (count, scores, labels, areas) in zip(found, DETECTIONS[network]):
        objects = one.instances
        assert len(objects.scores) == count
        assert objects.scores[::20].tolist() == pytest.approx(scores, abs=1e-4)
        assert objects.labels[::20].tolist() == labels
        assert objects.masks[::20].sum((1, 2)).tolist() == pytest.approx(areas, abs=3)
