"""Operations and memory of one training image, by network, for a recipe.

    python -m benchmarks.training_cost --recipe budget [--on street] [--size 256] [NAME ...]
    python -m benchmarks.training_cost --write [NAME ...]

Counts the FLOPs of forward pass and losses (a multiply-add counts 2), times three for the backward pass, and
the bytes that the forward pass keeps for the backward pass in fp32, with random weights on noise with two
squares an image. Only matrix products, attention and convolutions are counted.

`--write` counts all networks in all recipes, on all datasets that they can be trained on. `segbench plan` and
the requests of the rules start from these counts.
"""

from __future__ import annotations

import argparse
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import torch

from segbench.catalogue.listing import datasets, networks
from segbench.config.registry import CONFIG
from segbench.config.resolve import resolve
from segbench.config.resolved_run import PlannedCell
from segbench.jobs.cost import counts
from segbench.jobs.cost.counted import FEW, Counted
from segbench.jobs.cost.work import Network
from segbench.probe.count import count

RECIPES = ("demo", "budget", "standard", "paper")


def cells(recipe: str, on: list[str], names: list[str]) -> list[PlannedCell]:
    raw = {"datasets": on, "models": names, "controls": [], "recipe": recipe}
    return resolve(raw, CONFIG, "benchmarks", check_code=False).cells


def network(cell: PlannedCell) -> Network:
    return Network(class_path=cell.class_path, options=dict(cell.options), task=cell.task)


def write(names: list[str]) -> None:
    """Count what is not counted yet; networks that are named are counted again."""
    found = dict(counts.shipped())
    wanted: dict[str, Network] = {}
    for recipe in RECIPES:
        for name, entry in networks().items():
            on = list(entry.papers) if recipe == "paper" else list(datasets())
            if recipe in entry.recipes and on:
                for one in map(network, cells(recipe, on, [name])):
                    if name in names or one.key not in found:
                        wanted[one.key] = one
    alike: dict[str, Counted] = {}  # the operations hardly depend on the task
    # a process for each network: one for all would keep gigabytes of those before
    with ProcessPoolExecutor(1, get_context("spawn"), max_tasks_per_child=1) as pool:
        for number, (key, one) in enumerate(wanted.items(), 1):
            name = one.model_copy(update={"task": "semantic"}).key
            found[key] = alike[name] = alike.get(name) or pool.submit(count, one).result()
            counts.write_shipped(found)
            print(f"{number}/{len(wanted)} {one.class_path} {one.task}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--recipe", default="budget")
    parser.add_argument("--on", default="street", help="dataset with all tasks")
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--write", action="store_true", help="update the counts of the package")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.write:
        write(options.names)
        return
    print("| Network | GFLOP an image | MB kept | kFLOP a pixel |")
    print("| --- | ---: | ---: | ---: |")
    pixels = options.size**2
    for cell in cells(options.recipe, [options.on], options.names or list(networks())):
        found = counts.known(network(cell)) or count(network(cell))
        flops, stored = found.step(pixels, FEW), found.kept.at(pixels, FEW)
        print(
            f"| `{cell.model}` | {flops / 1e9:.1f} | {stored / 1e6:.0f} | {flops / pixels / 1e3:.0f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
