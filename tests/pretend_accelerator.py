"""A pretend accelerator: the device `pretend:0`, whose tensors hold tensors of the CPU.

It shows on any machine what only a GPU would show otherwise:

- An operation on tensors of the device and of the host raises an error, with the exceptions that CUDA makes:
  host tensors without dimensions in pointwise operations, and host tensors as indices.
- Operations for which the host waits on CUDA are counted (`counted`): reading a value (`item`, `tolist`,
  `cpu`), results whose shape depends on values (`nonzero`, a mask as an index, `unique`, NMS), and copies
  from memory that is not pinned. The rules are those of torch's CUDA kernels, and
  `tests/pretend/test_accelerator.py` lists them.
- `torch.autocast` follows CUDA's lists of operations, which differ from those of the CPU.

It says nothing of CUDA's kernels, streams, memory, speed and NCCL.
"""

from __future__ import annotations

import functools
import sys
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
import torchvision  # noqa: F401  (registers nms)
from torch import Tensor
from torch.utils import backend_registration
from torch.utils._pytree import tree_leaves, tree_map

NAME = "pretend"
AVAILABLE = hasattr(backend_registration, "_setup_privateuseone_for_python_backend")
"""Whether torch lets Python code be a device."""
aten = torch.ops.aten
PROJECT = Path(__file__).parents[1] / "segbench"


@dataclass(frozen=True)
class Wait:
    """One wait of the host for the device."""

    why: str
    where: str
    """Line of the project, or of this test, that waits."""

    def __str__(self) -> str:
        return f"{self.why} at {self.where}"


_counts: list[list[Wait]] = []


@contextmanager
def counted() -> Iterator[list[Wait]]:
    """Give a list that collects the waits within the block."""
    waits: list[Wait] = []
    _counts.append(waits)
    try:
        yield waits
    finally:
        _counts.pop()


def wait(why: str) -> None:
    if not _counts:
        return
    frame: Any = sys._getframe()
    first = None
    while frame is not None:
        name = frame.f_code.co_filename
        if name.startswith(str(PROJECT)):
            break
        if first is None and name != __file__ and f"{Path(torch.__file__).parent}" not in name:
            first = frame
        frame = frame.f_back
    place = frame or first
    where = f"{Path(place.f_code.co_filename).name}:{place.f_lineno}" if place else "?"
    for waits in _counts:
        waits.append(Wait(why, where))


class OnDevice(Tensor):
    """A tensor of the device; `inner` is the tensor of the CPU that computes for it."""

    inner: Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, inner: Tensor) -> OnDevice:
        made = torch.Tensor._make_wrapper_subclass(
            cls,
            inner.shape,
            strides=inner.stride(),
            storage_offset=inner.storage_offset(),
            dtype=inner.dtype,
            layout=inner.layout,
            device=torch.device(NAME, 0),
        )
        made.inner = inner
        return made

    def __repr__(self) -> str:
        return f"OnDevice({self.inner!r})"

    @classmethod
    def __torch_dispatch__(cls, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if operation is aten.one_hot.default:
            return _one_hot(*args, **(kwargs or {}))
        # without autograd, an operation that consists of others comes whole
        result = operation.decompose(*args, **(kwargs or {}))
        return _run(operation, *args, **(kwargs or {})) if result is NotImplemented else result

    def tolist(self) -> Any:
        return self.detach().cpu().tolist()

    def __reduce_ex__(self, _: Any) -> Any:
        arguments = (self.detach().cpu(), self.dtype, str(self.device), self.requires_grad)
        return torch._utils._rebuild_device_tensor_from_cpu_tensor, arguments


def is_pretend(device: Any) -> bool:
    return device is not None and torch.device(device).type == NAME


def on_device(tensor: Any) -> bool:
    return isinstance(tensor, OnDevice)


class MixedDevices(RuntimeError):
    """CUDA would raise: Expected all tensors to be on the same device."""


MAY_INDEX = {
    aten.index.Tensor,
    aten.index_put.default,
    aten.index_put_.default,
    aten._index_put_impl_.default,
    aten._unsafe_index.Tensor,
    aten._unsafe_index_put.default,
}
TAKE_SCALARS = {
    *(aten.fill.Tensor, aten.fill_.Tensor, aten.masked_fill.Tensor, aten.masked_fill_.Tensor),
    *(aten.index_fill.int_Tensor, aten.index_fill_.int_Tensor),
}
SHAPED_BY_VALUES = {
    **dict.fromkeys((aten.nonzero.default, aten.masked_select.default, aten.bincount.default)),
    **dict.fromkeys((aten._unique.default, aten._unique2.default, aten.unique_dim.default)),
    **dict.fromkeys((aten.unique_consecutive.default, aten.unique_dim_consecutive.default)),
    **dict.fromkeys((aten.equal.default, aten.histc.default, aten.multinomial.default)),
    torch.ops.torchvision.nms.default: None,
}


def _check_devices(operation: Any, args: Any, own: Sequence[OnDevice], host: Sequence[Tensor]) -> None:
    if operation is aten.copy_.default:
        return
    if operation in MAY_INDEX:
        allowed = on_device(args[0]) and all(
            t.dim() == 0 or any(t is index for index in args[1]) for t in host
        )
    else:
        takes = operation in TAKE_SCALARS or torch.Tag.pointwise in operation.tags
        takes = takes or "_foreach" in operation.name() or operation.name().startswith("aten::lift_fresh")
        allowed = takes and all(t.dim() == 0 for t in host)
    if not allowed:
        shapes = [[tuple(t.shape) for t in side] for side in (own, host)]
        raise MixedDevices(
            f"{operation} mixes tensors of the device {shapes[0]} with tensors of the host {shapes[1]}"
        )


def _count_waits(operation: Any, args: Any, kwargs: dict[str, Any]) -> None:
    if operation is aten._local_scalar_dense.default:
        wait("item")
    elif operation in SHAPED_BY_VALUES:
        wait(operation.name())
    elif operation is aten.repeat_interleave.Tensor:
        if kwargs.get("output_size") is None:
            wait("repeat_interleave")
    elif operation is aten.isin.Tensor_Tensor:
        if args[1].numel() >= 10 * max(1, args[0].numel()) ** 0.145:  # then it sorts
            wait("isin")
    elif operation in MAY_INDEX:
        masks = [i for i in args[1] if i is not None and i.dtype in (torch.bool, torch.uint8)]
        others = [i for i in args[1] if i is not None and not on_device(i) and i.dtype == torch.int64]
        fills = len(args) > 2 and len(masks) == 1 and args[2].numel() == 1 and not on_device(args[2])
        for _ in others:
            wait("indices of the host")
        if not fills:
            for _ in masks:
                wait("mask as an index")


def _copy(target: Tensor, source: Tensor, non_blocking: bool = False) -> Tensor:
    """Copy within the device, to it or from it."""
    if not on_device(source):
        if not (non_blocking and is_pinned(source)):
            wait("copy from memory that is not pinned")
    elif not on_device(target):
        wait("copy to the host")
    _inner(target).copy_(_inner(source))
    return target


def _one_hot(labels: OnDevice, classes: int = -1) -> OnDevice:
    if classes < 0:
        wait("one_hot")
    return OnDevice(torch.nn.functional.one_hot(labels.inner, classes))


def _inner(value: Any) -> Any:
    return value.inner if isinstance(value, OnDevice) else value


def _run(operation: Any, *args: Any, **kwargs: Any) -> Any:
    """Run an operation that has a tensor of the device, or makes one."""
    leaves = tree_leaves((args, kwargs))
    own = [t for t in leaves if isinstance(t, OnDevice)]
    host = [t for t in leaves if isinstance(t, Tensor) and not isinstance(t, OnDevice)]
    if own and host:
        _check_devices(operation, args, own, host)
    if operation is aten.copy_.default:
        return _copy(*args, **kwargs)
    if own:
        _count_waits(operation, args, kwargs)
    stays = bool(own)
    if kwargs.get("device") is not None:
        stays = is_pretend(kwargs["device"])
        kwargs["device"] = "cpu"
        if own and not stays and not kwargs.get("non_blocking"):
            wait("copy to the host")
    if stays and (generator := kwargs.get("generator")) is not None and not _is_of_device(generator):
        raise MixedDevices(f"{operation} on the device takes a generator of the host")
    kwargs.pop("pin_memory", None)
    before = [t.inner.shape for t in own]
    result = operation(*tree_map(_inner, args), **tree_map(_inner, kwargs))
    if before != [t.inner.shape for t in own]:
        raise NotImplementedError(f"{operation} changes the shape of a tensor of the device in place")
    return tree_map(lambda value: _outer(value, own), result) if stays else result


def _outer(value: Any, own: Sequence[OnDevice]) -> Any:
    if not isinstance(value, Tensor) or isinstance(value, OnDevice):
        return value
    for tensor in own:
        if tensor.inner is value:  # changed in place
            return tensor
    with torch.inference_mode(False):  # torch cannot make views of wrappers that were made in this mode
        return OnDevice(value)


class Generator(torch.Generator):
    """`torch.Generator` that knows the device, where it draws as on the CPU."""

    made: ClassVar[weakref.WeakSet[torch.Generator]] = weakref.WeakSet()

    def __new__(cls, device: Any = "cpu") -> Generator:
        generator = super().__new__(cls, "cpu" if is_pretend(device) else device)
        if is_pretend(device):
            cls.made.add(generator)
        return generator


def _is_of_device(generator: torch.Generator) -> bool:
    # torch gives operations another object for the same generator, so states are compared
    state = generator.get_state()
    return any(torch.equal(state, one.get_state()) for one in Generator.made)


def is_pinned(tensor: Tensor, device: Any = None) -> bool:
    return getattr(tensor, "pinned", False)


def record_stream(tensor: Tensor, stream: Any) -> None:
    """Nothing: the device has no streams."""


def pin_memory(tensor: Tensor, device: Any = None) -> Tensor:
    pinned = tensor.clone(memory_format=torch.preserve_format)
    pinned.pinned = True
    return pinned


class _Module:
    """What torch asks the module of a device, `torch.pretend`, for."""

    @staticmethod
    def is_initialized() -> bool:
        return True

    is_available = is_initialized

    @staticmethod
    def current_device() -> int:
        return 0

    @staticmethod
    def set_device(device: Any) -> None:
        pass

    @staticmethod
    def synchronize(device: Any = None) -> None:
        wait("synchronize")

    @staticmethod
    def device_count() -> int:
        return 1

    @staticmethod
    def _is_in_bad_fork() -> bool:
        return False

    @staticmethod
    def manual_seed_all(seed: int) -> None:
        """Nothing: draws without a generator come from that of the CPU."""

    @staticmethod
    def get_rng_state(device: Any = None) -> Tensor:
        return torch.get_rng_state()

    @staticmethod
    def set_rng_state(state: Tensor, device: Any = None) -> None:
        torch.set_rng_state(state)

    @staticmethod
    def Stream(device: Any = None) -> torch.cpu.Stream:
        return torch.cpu.Stream()

    stream = staticmethod(torch.cpu.stream)
    current_stream = staticmethod(torch.cpu.current_stream)

    @staticmethod
    def get_amp_supported_dtype() -> list[torch.dtype]:
        return [torch.bfloat16, torch.float16]


LOWER = (
    *("addbmm", "addmm", "addmv", "addr", "baddbmm", "bmm", "chain_matmul", "linalg_multi_dot", "linear"),
    *("conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d.input", "conv_transpose3d.input"),
    *("matmul", "mm", "mv", "prelu", "scaled_dot_product_attention"),
)
"""Operations that CUDA's autocast computes in the lower precision."""
FLOAT32 = (
    *("acos", "asin", "cosh", "erfinv", "exp", "expm1", "log", "log10", "log1p", "log2", "reciprocal"),
    *("rsqrt", "sinh", "tan", "softplus", "pow.Tensor_Scalar", "pow.Tensor_Tensor", "pow.Scalar"),
    *("layer_norm", "group_norm", "native_layer_norm", "frobenius_norm.dim", "nuclear_norm", "renorm"),
    *("cosine_similarity", "poisson_nll_loss", "cosine_embedding_loss", "nll_loss", "nll_loss2d"),
    *("nll_loss_nd", "hinge_embedding_loss", "kl_div", "l1_loss", "smooth_l1_loss", "huber_loss"),
    *("mse_loss", "margin_ranking_loss", "multilabel_margin_loss", "soft_margin_loss"),
    *("triplet_margin_loss", "multi_margin_loss", "binary_cross_entropy_with_logits", "dist", "pdist"),
    *("cdist", "cross_entropy_loss", "cosine_embedding_loss"),
)
"""Those that it computes in float32."""
ACCUMULATE_FLOAT32 = (
    *("softmax.int", "log_softmax.int", "sum", "sum.dim_IntList", "prod", "prod.dim_int"),
    *("cumsum", "cumprod"),
)
"""Those whose result it makes float32, if no type is asked for."""
WIDEST = (
    *("addcdiv", "addcmul", "atan2", "bilinear", "cross", "dot", "vdot", "grid_sampler", "index_put"),
    *("tensordot", "scatter_add", "cat", "stack"),
)
"""Those that it computes in the widest type of their arguments."""


def _operation(name: str) -> Any:
    packet, _, overload = name.partition(".")
    return getattr(getattr(aten, packet), overload or "default")


def _low(value: Any) -> bool:
    return isinstance(value, Tensor) and value.dtype in (torch.float16, torch.bfloat16)


def _autocast(library: torch.library.Library) -> None:
    """Register CUDA's lists for `torch.autocast` on the device."""
    key = torch._C.DispatchKey.AutocastPrivateUse1
    within = torch._C.DispatchKeySet(key)

    def converted(value: Any, dtype: torch.dtype) -> Any:
        floats = isinstance(value, Tensor) and value.is_floating_point() and value.dtype != torch.float64
        return value.to(dtype) if floats and on_device(value) else value

    def register(name: str, change: Callable[[Any, dict[str, Any]], tuple[Any, dict[str, Any]]]) -> None:
        operation = _operation(name)

        def kernel(*args: Any, **kwargs: Any) -> Any:
            with torch._C._ExcludeDispatchKeyGuard(within):
                args, kwargs = change(args, kwargs)
                return operation(*args, **kwargs)

        library.impl(name, kernel, "AutocastPrivateUse1")

    def lower(args: Any, kwargs: dict[str, Any]) -> Any:
        return tree_map(lambda v: converted(v, torch.get_autocast_dtype(NAME)), (args, kwargs))

    def float32(args: Any, kwargs: dict[str, Any]) -> Any:
        return tree_map(lambda v: converted(v, torch.float32) if _low(v) else v, (args, kwargs))

    def accumulate(args: Any, kwargs: dict[str, Any]) -> Any:
        return args, {"dtype": torch.float32, **kwargs} if _low(args[0]) else kwargs

    def widest(args: Any, kwargs: dict[str, Any]) -> Any:
        types = {v.dtype for v in tree_leaves((args, kwargs)) if isinstance(v, Tensor) and on_device(v)}
        low = {torch.float16, torch.bfloat16}
        return float32(args, kwargs) if types & low and torch.float32 in types else (args, kwargs)

    rules = {LOWER: lower, FLOAT32: float32, ACCUMULATE_FLOAT32: accumulate, WIDEST: widest}
    for names, change in rules.items():
        for name in dict.fromkeys(names):
            register(name, change)


_libraries: list[torch.library.Library] = []


def register() -> None:
    """Make the device known to torch, once in a process."""
    if _libraries:
        return
    backend_registration._setup_privateuseone_for_python_backend(NAME, backend_module=_Module())
    everything, known = torch.library.Library("_", "IMPL"), torch.library.Library("aten", "IMPL")
    everything.fallback(_run, dispatch_key="PrivateUse1")
    everything.fallback(torch.library.fallthrough_kernel, dispatch_key="AutocastPrivateUse1")
    known.impl("copy_", _copy, "PrivateUse1")  # `torch.tensor` finds no fallback
    for name in (
        "arange",
        "arange.start",
        "arange.start_step",
        "eye",
        "eye.m",
    ):  # torch's own resizes in place
        known.impl(name, functools.partial(_run, _operation(name)), "PrivateUse1")
    known.impl("one_hot", _one_hot, "AutogradPrivateUse1")  # torch's own reads values, except on CUDA
    _autocast(known)
    _libraries.extend([everything, known])
