"""`torch.compile` of the parts of a network that see the same shapes in each step."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch

from segbench.contract.recipe import CompileMode
from segbench.errors import SegbenchError
from segbench.models.network import Network


def compile_parts(network: Network, mode: CompileMode, where: str) -> None:
    """Let torch compile `dense_parts` of a network, in place: names of weights, copies and files stay.

    Raises:
        SegbenchError: the network has no such part.
    """
    parts = network.dense_parts()
    if not parts:
        raise SegbenchError(
            f"{type(network).__name__} has no part that torch.compile can compile",
            where=f"compile of {where}",
            remedy="remove `compile` from the recipe, or choose a network with a `backbone`",
        )
    for part in parts:
        part.compile(mode=mode)


@contextmanager
def compiled_step(mode: CompileMode | None, where: str) -> Iterator[None]:
    """Run one step of a training within the block.

    Raises:
        SegbenchError: torch cannot compile the network on this machine.
    """
    if mode is None:
        yield
        return
    from torch._dynamo.exc import TorchDynamoException  # takes seconds

    if mode != "default" and torch.cuda.is_available():
        torch.compiler.cudagraph_mark_step_begin()  # what the last step computed may be overwritten
    try:
        yield
    except TorchDynamoException as error:
        reason = str(getattr(error, "inner_exception", error)).strip() or type(error).__name__
        raise SegbenchError(
            f"torch.compile fails ({reason.splitlines()[0]})",
            where=where,
            remedy="remove `compile` from the recipe; a compiler for C++ and, for a GPU, Triton are needed",
        ) from error


def uncompiled(mode: CompileMode | None) -> AbstractContextManager[Any]:
    """Return a context in which compiled parts run as they are: each size of image would be compiled anew."""
    return nullcontext() if mode is None else torch.compiler.set_stance("force_eager")
