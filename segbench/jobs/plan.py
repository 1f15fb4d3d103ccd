"""The jobs that a run would execute, the reasons, and the cost.

The jobs and the reasons come from Snakemake's dry run, the cost from `segbench.jobs.cost`.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from segbench.config.resolved_run import CellKey, PlannedCell, ResolvedRun
from segbench.contract.cell import CellSpec
from segbench.contract.run import fold_folder
from segbench.errors import SegbenchError
from segbench.files import read_json
from segbench.fitting.fit import Fitted
from segbench.jobs import demand
from segbench.jobs.cost import bill, devices
from segbench.jobs.cost.estimate import Estimator, Meter
from segbench.jobs.disk import needs
from segbench.jobs.fitted_cell import fitted_cell

STEPS = {
    "train": ("train",),
    "score": ("predict", "evaluate"),
    "external": ("external", "evaluate"),
    "convert_dataset": ("convert", "lint"),
    "fold_dataset": ("fold",),
}
"""Steps of a job, as in state.json, by rule."""
SCORING = {"options", "scoring"}
"""Params of the rules that predict and score; these decide the scores only."""
NEW = "new"
CONTROLS = "controls"
"""Rule of all controls of a dataset; further ones, `controls_1`, are for datasets with other controls."""


@dataclass(frozen=True)
class Job:
    """One job that Snakemake would run."""

    rule: str
    wildcards: dict[str, str]
    why: str
    """Reasons to run it; empty if it only follows from another job."""

    @property
    def cell(self) -> CellKey | None:
        """Key of the cell, with `CONTROLS` as network of all controls; None if the job has no cell."""
        controls = self.rule.partition("_")[0] == CONTROLS
        if not controls and self.rule not in ("train", "score", "external"):
            return None
        model = CONTROLS if controls else self.wildcards["model"]
        return self.wildcards["dataset"], model, self.wildcards["repetition"]


def plan(
    arguments: list[str],
    meter: Meter,
    *,
    ceiling: float | None = None,
    yes: bool = False,
    price: float | None = None,
    on: str | None = None,
) -> None:
    """Print the jobs of `snakemake <arguments>`, the skipped pairs, hours, energy, jobs, money and disk.

    Args:
        arguments: options of Snakemake.
        meter: counts the operations of networks, and measures this machine.
        ceiling: maximum hours of training; None: `max_hours` of the configuration.
        yes: allow more hours than that.
        price: money for a device-hour; None: not printed.
        on: GPU to estimate for, such as `A100`; None: what was measured or probed, or else this machine.

    Raises:
        SegbenchError: the training would take more than the maximum, the GPU is unknown, or Snakemake
            reports an error.
    """
    device = devices.named(on) if on else None
    run, jobs = pending(arguments)
    print(f"run '{run.config.run}': {_counted(jobs) or 'nothing to be done'}")
    for job in jobs:
        if job.why and job.cell is None:
            print(f"  {' '.join([job.rule, *job.wildcards.values()])}: {job.why}")
    # first step of each cell; the later ones follow from it
    first = {job.cell: job for job in reversed(jobs) if job.cell}
    estimator = Estimator(run, meter, device)
    items, unknown = [], 0
    for cell in run.cells:
        key = (cell.dataset, CONTROLS, cell.repetition) if cell.control else cell.key
        if key not in first:
            continue
        job = first[key]
        line = f"  {cell.dataset}/{cell.model}/{cell.repetition}: {job.rule}: {job.why or 'new input'}"
        if cell.recipe:
            item, remark = _item(estimator, cell, job)
            line += remark
            unknown += item is None
            items += [item] if item else []
        print(line)
    for pair in run.skipped:
        print(f"  skipped: {pair}")
    for dataset in run.missing:
        print(f"  {dataset}")
    for line in fitted_recipes(run):
        print(line)
    total = sum(item.training for item in items)
    if items:
        terms = bill.Terms(demand.MAX_MINUTES, estimator.device.watts, price)
        print(*bill.lines(items, terms), sep="\n")
    where = f", as on {estimator.kind}" if items else ""
    print(
        f"training: {total:.3g} device-hours{where}"
        + f"; the cost of {unknown} cells is not known" * bool(unknown)
    )
    assumed = {cell.dataset for cell in run.cells if cell.key in first and cell.recipe}
    assumed = {c.dataset for c in run.cells if c.dataset in assumed and _is_assumed(estimator, c)}
    if assumed:
        print(f"not converted yet, sizes are assumed (docs/cost.md): {', '.join(sorted(assumed))}")
    for line in needs(run).lines():
        print(line)
    ceiling = run.config.max_hours if ceiling is None else ceiling
    if ceiling is not None and total > ceiling and not yes:
        raise SegbenchError(
            f"{total:.3g} hours of training are more than max_hours: {ceiling:g}",
            where="segbench plan",
            remedy="run fewer cells, raise max_hours, or give --yes",
        )


def _item(estimator: Estimator, cell: PlannedCell, job: Job) -> tuple[bill.Item | None, str]:
    """Return the cost of a cell, and the remark for its line."""
    try:
        seconds = estimator.seconds(cell)
    except Exception as error:  # a network of the user may fail on noise in any way
        reason = (str(error) or type(error).__name__).splitlines()[0]
        return None, f" (cost not known: {reason})"
    assert cell.recipe is not None
    trains = job.rule == "train" and cell.recipe.iterations != 0
    gpus = cell.recipe.gpus if estimator.device.gpu else 1
    time = seconds.training if trains else seconds.prediction
    shown = timedelta(seconds=round(time))
    return bill.Item(cell.dataset, cell.model, seconds, trains, gpus), f" ({shown}) {seconds.source}"


def _is_assumed(estimator: Estimator, cell: PlannedCell) -> bool:
    return cell.recipe is not None and not estimator.figures(cell).scene.converted


def fitted_recipes(run: ResolvedRun) -> Iterator[str]:
    """Yield a table of the values that rules derive from converted datasets, one row for each value."""
    rows = [("dataset", "network", "key", "value", "rule", "because of")]
    for cell in run.cells:
        first = cell.seed == run.config.seeds[0] and not cell.fold
        found = _fitted(run, cell).derived if first and cell.recipe and cell.recipe.fit else []
        data = cell.dataset if cell.fold is None else f"{cell.dataset}, fold 0"  # others differ a little
        rows += [(data, cell.model, one.key, _shown(one.value), one.rule, one.reason) for one in found]
    if len(rows) == 1:
        return
    widths = [max(map(len, column)) for column in zip(*rows)]
    yield "fitted to the data (docs/fitting.md):"
    for row in rows:
        yield "  " + "  ".join(f"{text:{width}}" for text, width in zip(row, widths)).rstrip()


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {part:g}" for key, part in value.items())
    if isinstance(value, tuple | list):
        whole = all(isinstance(part, int) for part in value)
        return (" x " if whole else " to ").join(map(str, value))
    return str(value)


def _fitted(run: ResolvedRun, cell: PlannedCell) -> Fitted:
    """Return the cell fitted to its dataset, or as it is if that is not converted."""
    root = Path(run.config.data, cell.dataset)
    folds = run.config.folds_of(cell.dataset)
    if cell.fold is not None:
        root = fold_folder(root, folds, cell.fold)
    try:
        return fitted_cell(cell, root / "dataset.json")
    except (OSError, ValueError, KeyError):  # not converted, or by an earlier version
        return Fitted(CellSpec.model_validate_json(cell.spec))


def _counted(jobs: list[Job]) -> str:
    return ", ".join(f"{n} {rule}" for rule, n in Counter(job.rule for job in jobs).items() if rule != "all")


def configured(options: Any) -> ResolvedRun:
    """Resolve the configuration of a call of Snakemake.

    Args:
        options: return value of `parsed`.

    Raises:
        SegbenchError: Snakemake or the configuration reports an error.
    """
    with _workflow(options) as workflow:
        run: ResolvedRun = workflow._workflow.globals["RUN"]
        return run


def pending(arguments: list[str]) -> tuple[ResolvedRun, list[Job]]:
    """Return the resolved configuration and the jobs of a dry run of `snakemake <arguments>`, in rule order.

    Raises:
        SegbenchError: Snakemake or the configuration reports an error.
    """
    from snakemake.api import DAGSettings

    args = parsed(arguments)
    settings = DAGSettings(
        targets=args.targets,
        forceall=args.forceall,
        forcerun=args.forcerun,
        force_incomplete=args.rerun_incomplete,
        rerun_triggers=args.rerun_triggers,
    )
    with _workflow(args) as api_workflow:
        api_workflow.dag(settings).execute_workflow(pseudo_executor="dryrun")
        workflow = api_workflow._workflow  # the API itself only prints
        run: ResolvedRun = workflow.globals["RUN"]
        order = {rule.name: number for number, rule in enumerate(workflow.rules)}
        jobs = [_job(job, workflow.dag.reason(job), run) for job in workflow.dag.needrun_jobs()]
    return run, sorted(jobs, key=lambda job: (order[job.rule], *job.wildcards.values()))


def parsed(arguments: list[str]) -> Any:
    """Parse options of Snakemake, including those of its profiles."""
    from snakemake.cli import parse_args

    return parse_args(arguments)[1]


@contextmanager
def _workflow(args: Any) -> Iterator[Any]:
    """Load the Snakefile with these options, silently; Snakemake's errors become a `SegbenchError`."""
    from snakemake.api import ConfigSettings, OutputSettings, ResourceSettings, SnakemakeApi
    from snakemake.cli import parse_config
    from snakemake.exceptions import WorkflowError
    from snakemake.settings.enums import Quietness

    logging.disable(logging.WARNING)  # hides the output of the dry run
    quiet = frozenset({Quietness.RULES, Quietness.PROGRESS})
    try:
        configuration = ConfigSettings(
            config=parse_config(args.config), configfiles=args.configfile, config_args=args.config
        )
        with SnakemakeApi(OutputSettings(dryrun=True, quiet=quiet)) as api:
            yield api.workflow(
                ResourceSettings(cores=1), configuration, snakefile=args.snakefile, workdir=args.directory
            )
    except WorkflowError as error:
        raise SegbenchError(str(error), where="snakemake") from error
    except FileNotFoundError as error:
        if error.filename not in map(str, args.configfile or ()):
            raise
        raise SegbenchError("does not exist", where=error.filename, remedy="check --configfile") from error
    finally:
        logging.disable(logging.NOTSET)


def _job(job: Any, reason: Any, run: ResolvedRun) -> Job:
    return Job(job.rule.name, dict(job.wildcards.items()), "; ".join(_reasons(job, reason, run)))


def _reasons(job: Any, reason: Any, run: ResolvedRun) -> Iterator[str]:
    """Translate Snakemake's reasons to those of a benchmark."""
    updated = set(reason.updated_input) - set(reason.updated_input_run)
    if reason.forced:
        yield "forced"
    if reason.missing_output or reason.incomplete_output:
        yield _unfinished(job, run)
    if reason.params_changed:
        changed = {
            name for name, value in job.params.items() if repr(value) in reason.params_changed.only_new
        }
        again = "only the scores: " if changed and changed <= SCORING and not updated else ""
        if changed & {"code", "scoring"}:
            yield f"{again}code changed"
        if "start" in changed:
            yield "the model.pt that it starts from changed"
        if changed - {"code", "scoring", "start"} or not changed:
            yield "recipe changed" if job.rule.name == "train" else f"{again}settings changed"
    if updated:
        yield f"input changed ({', '.join(sorted(map(str, updated)))})"
    if reason.input_changed:
        yield "other input files"


def _unfinished(job: Any, run: ResolvedRun) -> str:
    """Explain why an output is missing, from the status of the last attempt."""
    wildcards = dict(job.wildcards.items())
    root = Path(run.config.results, run.config.run)
    if "model" in wildcards and "repetition" in wildcards:
        folder = root.joinpath("cells", *(wildcards[key] for key in ("dataset", "model", "repetition")))
        folder /= wildcards.get("split", "")
    else:
        folder = root / "datasets" / wildcards.get("dataset", "")
    with suppress(SegbenchError):
        state = read_json(folder / "state.json")
        if state.get("step") in STEPS.get(job.rule.name, ()) and state["state"] != "ok":
            going_on = (folder / "checkpoint.pt").exists() and "; continues from its checkpoint"
            return f"{state['state']} before: {state['reason'] or 'no reason given'}{going_on or ''}"
    return NEW
