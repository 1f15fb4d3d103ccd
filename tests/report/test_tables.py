import math
import re
from pathlib import Path

import pandas as pd
import pytest
from fake_run import make_run

from segbench.contract.report import ReportOptions
from segbench.contract.run import RunDescription
from segbench.report.summarise import collect, comparisons
from segbench.report.tables import best_of, header, score, to_html, to_markdown

HOSTILE = '<script>alert("x")</script> | `a`*b*\n' + "long " * 60


@pytest.fixture(scope="module")
def vessels(tmp_path_factory: pytest.TempPathFactory) -> tuple[RunDescription, pd.DataFrame]:
    path: Path = make_run(tmp_path_factory.mktemp("run"), datasets=("vessels",), images=1, size=(40, 60))
    run = RunDescription.read(path)
    return run, comparisons(run, *collect(run))["vessels", "semantic"]


def test_markdown_is_one_table_with_the_best_in_bold(vessels):
    run, table = vessels
    lines = to_markdown(run, table).splitlines()
    assert len(lines) == 2 + len(table)
    assert {line.count("|") for line in lines} == {lines[0].count("|")}
    first = table.iloc[0]
    assert f"**{first['miou']:.3f} ± {first['miou_sd']:.3f}**" in lines[2]
    assert "**" not in lines[3].split("|")[2], "only the best is bold"
    assert "(control)" in lines[-1] and "**" not in lines[-1], "a control is never the best"


def test_html_has_the_same_numbers(vessels):
    run, table = vessels
    html = to_html(run, table)
    assert html.count("<tr") == 1 + len(table)
    for value in table["miou"]:
        assert f"{value:.3f}" in html
    assert f"<strong>{table['miou'].iloc[0]:.3f}</strong>" in html


def test_a_table_of_two_precisions_says_so(vessels):
    run, table = vessels
    one, two = (table.copy() for _ in range(2))
    one["precision"] = ["bf16", "bf16", *[""] * (len(table) - 2)]
    two["precision"] = ["bf16", "fp32", *[""] * (len(table) - 2)]
    first, second = (run.title(m) for m in table["model"][:2])
    note = f"Precision differs: bf16: {first}; fp32: {second}. Compare scores and times only within one"
    for write in (to_markdown, to_html):
        assert "Precision differs" not in write(run, one)
        assert note in write(run, two).replace("\\_", "_")
    one.loc[0, "precision"] = "bf16, fp32"  # the seeds of one network
    assert "Precision differs: bf16" in to_markdown(run, one)


def test_ties_are_all_bold(vessels):
    table = vessels[1].copy()
    table.loc[:2, "miou"] = [0.50004, 0.49996, 0.4]
    assert best_of(table, "miou")["model"].tolist() == table["model"].tolist()[:2]


def test_the_lowest_distance_is_the_best(vessels):
    table = vessels[1].copy()
    for column in ("case_hd95", "case_hd95 [match=5 mm]", "case_dice"):
        table[column] = [7.0, 3.0, *[1.0] * (len(table) - 2)]
    models = table["model"].tolist()
    networks = int((~table["control"]).sum())
    assert networks >= 2
    lowest = models[1:2] if networks == 2 else models[2:networks]
    assert best_of(table, "case_hd95")["model"].tolist() == lowest
    assert best_of(table, "case_hd95 [match=5 mm]")["model"].tolist() == lowest
    assert best_of(table, "case_dice")["model"].tolist() == models[:1]
    assert header("case_hd95") == "HD95 in mm (cases)"


def test_a_distance_ranks_no_networks():
    with pytest.raises(ValueError, match="lower values of this metric are better"):
        ReportOptions(primary={"semantic": "case_hd95"})
    assert ReportOptions(primary={"semantic": "case_dice"}).primary == {"semantic": "case_dice"}


def test_a_lone_network_is_not_called_best(vessels):
    run, table = vessels
    lone = table[table["control"] | (table.index == 0)].reset_index(drop=True)
    assert "**" not in to_markdown(run, lone)


def test_names_and_reasons_are_text_in_every_form(vessels):
    run, table = vessels
    run = run.model_copy(deep=True)
    run.models["unet"].title = HOSTILE
    table = table.copy()
    failed = table["model"] == "fcn8s_vgg16"
    table.loc[failed, ["status", "reason", "seeds"]] = ["failed", HOSTILE, 0]
    html, markdown = to_html(run, table), to_markdown(run, table)
    assert "<script" not in html and "&lt;script&gt;" in html
    assert "<script" not in markdown
    rows = markdown.splitlines()
    assert len(rows) == 2 + len(table)
    assert all(len(re.findall(r"(?<!\\)\|", row)) == len(re.findall(r"\|", rows[0])) for row in rows)
    assert "| failed: " in markdown


def test_headers_name_what_differs():
    assert header("ap50") == "AP50"
    assert header("ap [max_detections=400]") == "AP [max_detections=400]"
    assert header("own_metric") == "own_metric"


def test_scores_have_three_digits_and_their_spread():
    assert score(0.5, math.nan) == "0.500" and score(0.5, 0.0123) == "0.500 ± 0.012"
    assert score(math.nan) == "\N{EN DASH}"
