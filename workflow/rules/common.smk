# Names, paths and functions that the rules share. The configuration is checked here, before the DAG is built.
import functools
import hashlib
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

from snakemake.exceptions import WorkflowError

from segbench.config.describe import describe
from segbench.config.resolve import resolve
from segbench.contract.external import ExternalSpec
from segbench.contract.run import fold_folder
from segbench.data.sources import own_folder
from segbench.errors import SegbenchError
from segbench.exchange.predictions.files import files_of
from segbench.files import write_json
from segbench.jobs import demand, disk, retries, slurm
from segbench.jobs.cost.estimate import figures_of
from segbench.jobs.cost.probes import FOLDER as PROBES_FOLDER
from segbench.jobs.fingerprint import fingerprint
from segbench.jobs.locks import hold, place_of_locks, share
from segbench.jobs.missing import without_missing
from segbench.jobs.signatures import remember_signatures
from segbench.jobs.training_code import training_code
from segbench.models.digest import model_digest
from segbench.prediction.runner.origin import is_made_from, origin

remember_signatures()

try:
    RUN = resolve(
        config,
        # the registries of the project, from whichever folder Snakemake is called
        Path(os.path.relpath(PROJECT / "config")),
        source=", ".join(map(str, workflow.configfiles)) or "--config",
        check_code=not workflow.remote_exec,  # the submitting process has checked it
    )
    if not workflow.remote_exec:  # a node need not see the archives
        RUN = without_missing(RUN)
except SegbenchError as error:
    raise WorkflowError(str(error)) from None

if workflow.remote_exec:
    slurm.set_job_end_time()
    slurm.disable_job_marks()
else:
    states_of_jobs = slurm.watch_states(
        requeue=getattr(workflow.executor_settings, "requeue", False)
    )
    retries.install(
        retries.Retries(lambda wildcards: state_folder(wildcards), states_of_jobs)
    )
CONFIG = RUN.config
DESCRIPTION = describe(RUN).model_dump(mode="json")
# rules call the `segbench` of the environment that runs this workflow
os.environ.update(
    PATH=os.pathsep.join([str(Path(sys.executable).parent), os.getenv("PATH", "")])
)
DATA, ARCHIVES, WEIGHTS = CONFIG.data, CONFIG.archives, CONFIG.weights
# folders that runs share, by wildcard, and the rules that write to them
STORES = {"dataset": DATA, "archive": ARCHIVES, "weights": WEIGHTS}
MAKERS = {
    "fetch_archive",
    "fetch_weights",
    "convert_dataset",
    "fold_dataset",
}
RESULTS = f"{CONFIG.results}/{CONFIG.run}"
# a repetition is `seed0`, or `seed0-fold2` in a cross-validation
CELL = f"{RESULTS}/cells/{{dataset}}/{{model}}/{{repetition}}"
POOLED = f"{RESULTS}/cells/{{dataset}}/{{model}}/seed{{seed}}-pooled"
LOGS = f"{RESULTS}/logs"
PROBES = f"{CONFIG.results}/{PROBES_FOLDER}"
# on a cluster, the short jobs of one dataset are submitted as one job
DATASET_GROUP = "{dataset}"
CELL_LOG = "{dataset}/{model}-{repetition}.log"
MIRROR = ["--mirror", CONFIG.mirror] if CONFIG.mirror else []
# a pattern that nothing matches where a run has controls only
NETWORKS = (
    "|".join(map(re.escape, dict.fromkeys(c.model for c in RUN.cells if c.recipe)))
    or "(?!)"
)
EXTERNALS = (
    "|".join(map(re.escape, dict.fromkeys(c.model for c in RUN.cells if c.external)))
    or "(?!)"
)
# datasets by the controls that they share
CONTROLS = {}
for dataset in RUN.datasets:
    if names := tuple(
        dict.fromkeys(c.model for c in RUN.cells if c.control and c.dataset == dataset)
    ):
        CONTROLS.setdefault(names, []).append(dataset)
FOLDS = {(c.dataset, c.repetition): c.fold for c in RUN.cells}


wildcard_constraints:
    dataset="|".join(map(re.escape, RUN.datasets)),
    model="|".join(map(re.escape, RUN.models)),
    repetition=r"seed\d+(-fold\d+)?",
    seed=r"\d+",
    # the evaluation split, or the training split in a folder of its own
    split="(?:train/)?",
    folds=r"\d+",
    number=r"\d+",


def records_of(wildcards):
    """Records of the fetched archives of a dataset; none if the conversion itself fetches them."""
    archives = RUN.datasets[wildcards.dataset].archives
    return [f"{ARCHIVES}/{name}.json" for name in archives if CONFIG.keep_archives]


def archive_arguments(dataset):
    """Options of `segbench convert` that name the archives of a dataset."""
    archives = RUN.datasets[dataset].archives
    places = {name: f"{ARCHIVES}/{name}" for name in archives}
    found = [option for place in places.values() for option in ("--archive", place)]
    if CONFIG.keep_archives or not archives:
        return found
    lent = {places[name]: json.loads(dumps(one)) for name, one in archives.items()}
    return [*found, "--borrow", json.dumps(lent), *MIRROR]


def cell_of(wildcards):
    return RUN.by_key[wildcards.dataset, wildcards.model, wildcards.repetition]


def data_of(wildcards):
    """The dataset of a cell, or its fold."""
    root, fold = (
        Path(DATA, wildcards.dataset),
        FOLDS[wildcards.dataset, wildcards.repetition],
    )
    if fold is not None:
        root = fold_folder(root, CONFIG.folds_of(wildcards.dataset), fold)
    return f"{root}/dataset.json"


def weights_of(wildcards):
    """Weights that a training starts from: those of another cell or run, public ones, or none."""
    cell = cell_of(wildcards)
    if cell.earlier:
        return paths_of_cells(f"{CELL}/model.pt", [RUN.by_key[cell.earlier]])
    if cell.given:
        return [ancient(str(cell.given))]  # its content counts, see `start_of`
    return [f"{WEIGHTS}/{cell.weights}.safetensors"] if cell.weights else []


def start_of(wildcards):
    """Digest of the model.pt of another run that a training starts from; empty if there is none."""
    given = cell_of(wildcards).given
    if given is None or workflow.remote_exec:  # the submitting process has compared it
        return ""
    return model_digest(given)


def state_folder(wildcards):
    """Folder of the state.json of a step; None for steps that have none. `wildcards` is a dict."""
    if {"model", "repetition"} <= wildcards.keys():
        return Path(CELL.format(**wildcards), wildcards.get("split", ""))
    if "dataset" in wildcards and "repetition" not in wildcards:
        return Path(RESULTS, "datasets", wildcards["dataset"])
    return None  # among others, the controls: each has a state of its own


def gpus_to_train(wildcards):
    """Number of GPUs of a training; 0 with `device: cpu`."""
    return cell_of(wildcards).recipe.gpus if CONFIG.device != "cpu" else 0


def must_predict(wildcards):
    """Whether a cell is predicted before it is scored. Asked again when its training has ended."""
    try:
        folder = Path(f"{CELL}/{{split}}predictions".format(**wildcards))
        made_from = origin(
            Path(data_of(wildcards)).parent,
            Path(f"{CELL}/model.pt".format(**wildcards)),
            prediction_code(wildcards),
            [cell_of(wildcards).inference, split_of(wildcards)],
        )
        return not is_made_from(folder, made_from)
    except (OSError, SegbenchError):  # not trained yet
        return True


def inference_in_training(wildcards):
    """How a training predicts for its validations. It decides weights only if these are selected by it: the
    specification of the cell then has it, too.
    """
    cell = cell_of(wildcards)
    return cell.inference if cell.recipe.validate_every else "{}"


def gpus_to_score(wildcards):
    return int(CONFIG.device != "cpu" and must_predict(wildcards))


def minutes_to_score(wildcards, input, attempt):
    images = images_of(input.data, split_of(wildcards))
    minutes = demand.evaluation_minutes(images, attempt)
    if must_predict(wildcards):
        passes, gpus = cell_of(wildcards).passes, int(CONFIG.device != "cpu")
        minutes += demand.prediction_minutes(images * passes, gpus, attempt)
    return min(minutes, demand.MAX_MINUTES)


def controls_of(wildcards):
    cells = (
        RUN.by_key.get((wildcards.dataset, model, wildcards.repetition))
        for model in dict.fromkeys(c.model for c in RUN.cells if c.control)
    )
    return [cell for cell in cells if cell]


def controls_spec(wildcards):
    return json.dumps(
        {cell.model: cell.control_keys for cell in controls_of(wildcards)}
    )


def controls_code(wildcards):
    return code_in(
        "segbench.prediction.controls", *(c.class_path for c in controls_of(wildcards))
    )


def minutes_for_controls(wildcards, input, attempt):
    images = images_of(input.data) * len(controls_of(wildcards))
    minutes = demand.evaluation_minutes(images, attempt) + demand.prediction_minutes(
        images, 0, attempt
    )
    return min(minutes, demand.MAX_MINUTES)


def images_of(dataset_json, split=""):
    """Number of images in a split; "": the evaluation split. Raises FileNotFoundError until the dataset is
    converted; Snakemake then calls it again.
    """
    info = json.loads(Path(dataset_json).read_text())
    return info["splits"][split or info["evaluation_split"]]


def split_of(wildcards):
    """Name of the split of a job; empty for the evaluation split."""
    return wildcards.split[:-1]


def split_arguments(wildcards):
    return ["--split", split_of(wildcards)] if wildcards.split else []


@functools.cache
def own_files_of(dataset):
    """Digest of the source folder of a user's own dataset; empty for other datasets."""
    entry = RUN.datasets[dataset]
    folder = entry.options.get("folder")
    if workflow.remote_exec or not isinstance(folder, str):
        return ""  # the submitting process has compared it
    try:
        counts = own_folder.read_by(entry.convert, entry.options)
        cache = Path(".snakemake/segbench")
        return own_folder.digest(Path(folder), cache, counts=counts)
    except SegbenchError as error:
        raise WorkflowError(str(error)) from None


def columns_arguments(wildcards):
    """JSON of the columns of a user's file that the check of a dataset compares with its images."""
    columns = RUN.datasets[wildcards.dataset].columns
    return columns.model_dump_json() if columns else "null"


def digest_of_columns():
    """Digest of the files with columns of the images, which the summary reads."""
    files = [entry.columns.file for entry in RUN.datasets.values() if entry.columns]
    if workflow.remote_exec or not files:
        return ""  # the submitting process has compared it
    content = [file.read_bytes() for file in files if file.is_file()]
    return hashlib.sha256(b"\0".join(content)).hexdigest()[:16]


@functools.cache
def predicted_files_of(spec):
    """Digest of the files of predictions that another program made."""
    if workflow.remote_exec:
        return ""  # the submitting process has compared it
    try:
        found = ExternalSpec.model_validate_json(spec)
        cache = Path(".snakemake/segbench")
        return own_folder.digest(found.path, cache, files_of(found))
    except SegbenchError as error:
        raise WorkflowError(str(error)) from None


def minutes_for_external(wildcards, input, attempt):
    images = images_of(input.data)
    minutes = demand.evaluation_minutes(images, attempt) + demand.prediction_minutes(
        images, 0, attempt
    )
    return min(minutes, demand.MAX_MINUTES)


def paths_of_cells(pattern, cells=RUN.cells):
    return [
        pattern.format(
            dataset=c.dataset, model=c.model, seed=c.seed, repetition=c.repetition
        )
        for c in cells
    ]


def pooled_scores():
    """Scores over all folds, one file for each network and seed of a cross-validation."""
    first_folds = [cell for cell in RUN.cells if cell.fold == 0]
    return paths_of_cells(f"{POOLED}/scores.csv", first_folds)


def train_scores():
    """Scores of the networks on their training splits, if these are scored, too."""
    scored = "train" in CONFIG.score_splits
    return paths_of_cells(
        f"{CELL}/train/scores.csv", [c for c in RUN.cells if scored and c.recipe]
    )


def code_of(step, *paths):
    """Fingerprint of the code of a step, and of the network, converter or loader that it calls."""
    if workflow.remote_exec:  # the submitting process has compared it
        return ""
    return code_in(step, *paths)


def code_in(*paths):
    return fingerprint(*(path.partition(":")[0] for path in paths if path))


def prediction_code(wildcards):
    """Fingerprint that `segbench predict` compares, on a node too."""
    return code_in(
        "segbench.prediction.predict",
        "segbench.prediction.inference",
        cell_of(wildcards).class_path,
    )


@functools.cache
def trainings():
    return demand.Trainings(RUN)


def requests(input):
    """What trainings request. Raises FileNotFoundError until the dataset is converted; Snakemake then calls it
    again.
    """
    os.stat(input.data)
    return trainings()


GUESSES, PRIORITIES = demand.Trainings(RUN, on_gpu=False), {}


def longest_first(wildcards):
    """Priority of a training: its seconds on a slow core. A long one that is left for the end would let other
    cores idle.

    It is asked before the datasets are converted, so its estimates are kept apart from those of `requests`.
    """
    dataset, model = wildcards["dataset"], wildcards["model"]
    if (dataset, model) not in PRIORITIES:  # seeds and folds share it
        cell = RUN.by_key[dataset, model, wildcards["repetition"]]
        PRIORITIES[dataset, model] = round(GUESSES.seconds(cell))
    return PRIORITIES[dataset, model]


@functools.cache
def probed_works():
    """What to probe, by key: the cell of each network with the largest steps. Built when a probe is asked for."""
    found = {}
    for cell in RUN.cells:
        if cell.recipe and cell.recipe.iterations != 0:
            work = figures_of(RUN, cell).work
            found.setdefault(cell.model, {})[work.key] = (work, cell)
    largest = [
        max(works.values(), key=lambda one: one[0].load) for works in found.values()
    ]
    return {work.key: (work, cell) for work, cell in largest}


def dumps(model):
    """JSON of the keys that differ from the defaults. A new key with a default repeats no job."""
    return json.dumps(
        model.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    )


# Written once, not for each job.
EVALUATION = {name: dumps(RUN.evaluation(name)) for name in RUN.datasets}


def evaluation_options(wildcards):
    return EVALUATION[wildcards.dataset]


def digest(*keys):
    """Changes with these parts of the description of the run, and with nothing else."""
    shown = json.dumps([DESCRIPTION[key] for key in keys])
    return hashlib.sha256(shown.encode()).hexdigest()[:16]


def claim():
    """Lock the results, and the archives, weights and datasets that this run writes, against other runs.

    Files that this run only reads are locked for reading, which many runs can do at once. The profiles switch
    Snakemake's own lock off (`nolock`), as it remains if the process is killed. These locks end with the process.
    """
    global CLAIMS  # the locks are held while these files are open
    own = {}
    for job in workflow.dag.jobs:
        for kind, store in STORES.items():
            if name := getattr(job.wildcards, kind, None):
                place = Path(store, name)
                making = job.rule.name in MAKERS and workflow.dag.needrun(job)
                own.setdefault(place, []).extend([job] * making)
    try:
        CLAIMS = [hold(Path(RESULTS))]
        for place, jobs in sorted(own.items()):
            CLAIMS.append(
                hold(
                    place_of_locks(place),
                    shared=not jobs,
                    where=place,
                    remedy="wait until the other run has written it, or set another folder for this run",
                )
            )
    except SegbenchError as error:
        raise WorkflowError(str(error)) from None
    made = [
        (lock, jobs)
        for lock, jobs in zip(CLAIMS[1:], (own[p] for p in sorted(own)))
        if jobs
    ]
    threading.Thread(target=share_finished, args=[made], daemon=True).start()


def share_finished(claims):
    """Let other runs read a dataset as soon as its jobs are done, before this run ends."""
    while claims:
        time.sleep(1)
        done = [c for c in claims if all(map(workflow.dag.finished, c[1]))]
        for lock, _ in done:
            share(lock)
        claims = [c for c in claims if c not in done]


def check_disk():
    """End the run before its first job if it does not fit on the disk."""
    try:
        disk.check(RUN)
    except SegbenchError as error:
        raise WorkflowError(str(error)) from None


def end_orphaned_jobs():
    """Cancel cluster jobs that an earlier call submitted before it was killed."""
    ids = {
        str(id)
        for job in workflow.dag.needrun_jobs()
        for id in workflow.persistence.external_jobids(job)
    }
    try:
        if ids and (ended := slurm.end_jobs(ids)):
            print(
                f"cancelled jobs of an earlier call: {', '.join(ended)}",
                file=sys.stderr,
            )
    except SegbenchError as error:
        raise WorkflowError(str(error)) from None


def cancel_timers():
    """Let the process end after the last job, without waiting for timers of `max-jobs-per-timespan`."""
    for thread in threading.enumerate():
        if isinstance(thread, threading.Timer):
            thread.cancel()


def report_finished_cells():
    if Path(RESULTS, "run.json").exists():
        for step in (
            ["summarise", f"{RESULTS}/run.json", "--out", f"{RESULTS}/summary"],
            [
                "report",
                f"{RESULTS}/run.json",
                "--summary",
                f"{RESULTS}/summary",
                "--out",
                f"{RESULTS}/report",
            ],
        ):
            subprocess.run(["segbench", *step], check=False)
        print(
            f"Some jobs failed. {RESULTS}/report/index.html shows which, and the results of the others.",
            file=sys.stderr,
        )
