"""Verify a run: do its tables follow from its per-image statistics, and are its inputs those it records?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from segbench.contract.run import RunDescription
from segbench.files import read_json
from segbench.report.summarise import read_scores
from segbench.runs.deviations import Deviations
from segbench.runs.inputs import Input, inputs
from segbench.runs.recompute import KEY, Recomputed, recompute


@dataclass
class Verified:
    """What was checked, and what was found."""

    again: Recomputed
    deviations: Deviations = field(default_factory=Deviations)
    missing: list[str] = field(default_factory=list)
    """What could not be compared, and why."""
    inputs: list[Input] = field(default_factory=list)

    @property
    def exit_status(self) -> int:
        """1 if anything differs, 2 if something could not be computed again, else 0."""
        if self.deviations.found or any(one.state == "differs" for one in self.inputs):
            return 1
        return 2 if self.missing or not self.again.cells else 0


def verify(run: RunDescription) -> Verified:
    """Compute all tables of a run again, and compare them with those recorded.

    Nothing is written to the folder of the run.
    """
    with TemporaryDirectory(prefix="segbench-verify-") as temporary:
        folder = Path(temporary)
        found = Verified(recompute(run, folder))
        found.missing += found.again.missing
        for name in found.again.cells:
            _add_cell(found.deviations, f"cells/{name}", run.root, folder)
        if not (run.root / "summary").is_dir():
            found.missing.append("summary: there is none; call segbench summarise")
        elif found.again.cells:
            files = {p.relative_to(top) for top in (run.root, folder) for p in (top / "summary").rglob("*.*")}
            # scores by brightness follow from the images, those by columns from a file of the user, and
            # neither is in the folder of a run
            apart = {Path("summary/conditions.csv"), Path("summary/columns.csv")}
            for path in sorted(files - apart):
                found.deviations.add_files(str(path), run.root / path, folder / path)
    found.inputs = list(inputs(run))
    return found


def _add_cell(deviations: Deviations, name: str, own: Path, new: Path) -> None:
    """Compare the scores and the intervals of a cell."""
    tables = (read_scores(top / name / "scores.csv").set_index(KEY) for top in (own, new))
    deviations.add_frames(f"{name}/scores.csv", *tables)
    if not (own / name / "scores.json").exists():
        return
    one, two = (read_json(top / name / "scores.json").get("intervals", {}) for top in (own, new))
    for task, metric in dict.fromkeys((t, m) for part in (one, two) for t in part for m in part[t]):
        ends = [part.get(task, {}).get(metric) or (None, None) for part in (one, two)]
        for end, a, b in zip(("low", "high"), *ends):
            deviations.add(f"{name}/scores.json", f"interval of {task} {metric}, {end}", a, b)


def lines_of(found: Verified) -> Iterator[str]:
    """Yield what was found, for people."""
    again = found.again
    yield f"{found.deviations.values} values of {len(again.cells)} cells and the summary are computed again"
    yield from (f"differs: {one}" for one in found.deviations.found)
    yield from (f"differs: {one}" for one in found.inputs if one.state == "differs")
    yield from (f"not verified: {one}" for one in found.missing)
    if again.carried:
        yield f"not verified: {', '.join(sorted(again.carried))}: not from the per-image statistics"
    checked = sum(one.state == "same" for one in found.inputs)
    absent = sorted({one.name for one in found.inputs if one.state == "not here"})
    yield f"{checked} inputs are those recorded" + (f"; not here: {', '.join(absent)}" if absent else "")
