import pytest
from pydantic import ValidationError

from segbench.contract.card import Paper, Published

SCORE = {"split": "val", "metric": "miou", "value": 0.6, "tolerance": 0.01, "source": "a paper"}


def test_a_paper_is_cited_in_short_and_in_full():
    paper = Paper(authors="A, B, C", title="T", venue="V", year=2020, url="https://example.org/t")
    assert (paper.short, str(paper)) == ("A et al., V 2020", "A, B, C: T. V 2020, https://example.org/t")
    two = paper.model_copy(update={"authors": "A, B"})
    assert two.short == "A and B, V 2020"


def test_a_published_score_names_its_data():
    assert Published(dataset="voc2012", **SCORE).where == "voc2012"
    assert Published(dataset="voc2012", data="flipped too", **SCORE).where == "voc2012 (flipped too)"
    assert Published(data="ADE20K", **SCORE).where == "ADE20K"
    with pytest.raises(ValidationError, match="give `dataset`"):
        Published(**SCORE)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"metric": "miuo"}, "did you mean 'miou'"),
        ({"metric": "warping error"}, "no metric 'warping error'"),
        ({"value": 60.5}, "less than or equal to 1"),
    ],
)
def test_scores_that_ours_cannot_be_compared_with_are_refused(wrong, message):
    with pytest.raises(ValidationError, match=message):
        Published(data="ADE20K", **SCORE | wrong)
