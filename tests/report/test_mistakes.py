import numpy as np
import pytest

from segbench.contract.view import Category
from segbench.data.painting import VOID, Region, paint
from segbench.report.mistakes import INVENTED, MISSED, RIGHT, WRONG, cropped, mistakes

CAR = Category(id=1, name="car", isthing=True, color=(1, 2, 3))
DOG = Category(id=2, name="dog", isthing=True, color=(4, 5, 6))
SIZE = (8, 12)


def area(category, rows, columns, **options):
    mask = np.zeros(SIZE, bool)
    mask[slice(*rows), slice(*columns)] = True
    return Region(category, mask, **options)


def whole(region):
    mask = np.zeros(SIZE, bool)
    (top, left), (height, width) = region.corner, region.mask.shape
    mask[top : top + height, left : left + width] = region.mask
    return mask


def found(truth, predicted, task):
    return [(r.category, whole(r)) for r in mistakes(cropped(truth), predicted, task, SIZE)]


def test_a_cropped_region_is_painted_as_before():
    regions = [area(CAR, (2, 5), (3, 9), is_object=True), area(DOG, (0, 0), (0, 0))]
    image = np.full((*SIZE, 3), 90, np.uint8)
    (held,) = cropped(regions)
    assert held.mask.shape == (3, 6)
    assert (paint(image, [held]) == paint(image, regions)).all()


def test_each_pixel_of_a_class_map():
    truth = [area(CAR, (0, 8), (0, 4)), area(DOG, (0, 8), (4, 6)), area(VOID, (7, 8), (0, 12))]
    guess = [area(CAR, (0, 8), (2, 5)), area(DOG, (0, 8), (9, 12))]
    kinds = dict(found(truth, guess, "semantic")[1:])  # the first is void
    columns = {k: np.flatnonzero(m[0]).tolist() for k, m in kinds.items()}
    assert columns == {RIGHT: [2, 3], MISSED: [0, 1, 5], INVENTED: [9, 10, 11], WRONG: [4]}
    assert not any(m[7].any() for m in kinds.values()), "void is no mistake"


def test_classes_that_overlap_are_compared_by_pixel():
    truth = [area(CAR, (0, 8), (0, 6)), area(DOG, (0, 8), (3, 6))]
    guess = [area(CAR, (0, 8), (0, 4)), area(DOG, (0, 8), (5, 8))]
    columns = {k: np.flatnonzero(m[0]).tolist() for k, m in found(truth, guess, "semantic")}
    assert columns == {RIGHT: [0, 1, 2], MISSED: [3, 4, 5], INVENTED: [6, 7], WRONG: []}


@pytest.mark.parametrize("frame", [False, True])
def test_objects_are_right_wrong_missed_or_invented(frame):
    def thing(category, rows, columns):
        return area(category, rows, columns, is_object=True, frame=frame)

    crowd = area(VOID, (6, 8), (8, 12))
    truth = [thing(CAR, (0, 3), (0, 4)), thing(DOG, (0, 3), (6, 9)), thing(CAR, (4, 8), (0, 4)), crowd]
    guess = [
        thing(CAR, (0, 3), (0, 3)),  # IoU .75
        thing(CAR, (0, 3), (6, 9)),  # a dog
        thing(CAR, (6, 8), (0, 4)),  # IoU .5 is no match
        thing(DOG, (6, 8), (9, 12)),  # in the crowd
        thing(CAR, (4, 5), (10, 12)),
    ]
    task = "detection" if frame else "instance"
    kinds = [(k, (m.any(1).argmax(), m.any(0).argmax())) for k, m in found(truth, guess, task)]
    assert kinds == [
        (VOID, (6, 8)),
        (RIGHT, (0, 0)),
        (MISSED, (4, 0)),
        (WRONG, (0, 6)),
        (INVENTED, (6, 0)),
        (INVENTED, (4, 10)),
    ]


def test_a_match_of_its_own_class_comes_first():
    truth = [area(CAR, (0, 4), (0, 10), is_object=True)]
    guess = [area(DOG, (0, 4), (0, 10), frame=True), area(CAR, (0, 4), (0, 6), frame=True)]
    kinds = [k for k, _ in found(truth, guess, "detection")]
    assert kinds == [RIGHT, INVENTED]


def test_nothing_has_no_mistakes():
    assert found([], [], "instance") == []
    assert [k for k, _ in found([], [area(CAR, (0, 2), (0, 2))], "panoptic")] == [INVENTED]
    assert [k for k, _ in found([area(CAR, (0, 2), (0, 2))], [], "instance")] == [MISSED]
