"""LoaderOptions: what loaders of vertices and of edges have in common."""

import dataclasses
import inspect
import reprlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from gnnflow.config import (
    CHUNK_BYTES,
    DEFAULT_CACHE,
    DEFAULT_DEPTH,
    DEFAULT_DRAW_EVERY,
    CacheConfig,
    PolicyConfig,
)
from gnnflow.errors import ConfigError
from gnnflow.first_hop import FIRST_HOPS, FirstHop
from gnnflow.loader.arguments import (
    Fanout,
    as_device,
    as_fanout,
    as_names,
    as_whole_number,
    check_memory,
)
from gnnflow.loader.minibatch_maker import FEATURES, MinibatchOptions, Transform
from gnnflow.loader.pyg_names import PygNames
from gnnflow.prefetch import Policy, PolicyChoice
from gnnflow.sampling.draws import DrawName, steps_of_a_key

DEFAULT_FANOUT = (10, 25)
WITHOUT_CACHE = ("static", "none")
"""Policies that have nothing to steer."""
_ONE_BY_ONE = CacheConfig(scorer="none", prefetch_depth=0)


@dataclass(frozen=True, kw_only=True, slots=True)
class LoaderOptions:
    """How minibatches are made, and what they hold.

    A loader takes these fields by name, or all of them as `options=`; names count where both are
    given.
    """

    fanout: Fanout = DEFAULT_FANOUT
    """Neighbours kept per hop, from the seeds outwards; -1 keeps all. A number is one hop, and
    `"10,25"` is as on the command line."""
    batch_size: int = 512
    """Seeds, or edges asked about, of one rank in one minibatch, on average."""
    shuffle: bool = True
    """Whether each epoch has an order of its own."""
    seed: int = 0
    """Seed of order, sampling and negatives; the same on all ranks."""
    replace: bool = False
    """Whether a neighbour may be drawn several times."""
    weight_attr: str | None = None
    """Name of the edge weights by which neighbours are drawn, `"weight"` as partitions keep them;
    None draws all alike. Edges of weight 0 are never drawn; a fanout of -1 keeps all edges."""
    draw: DrawName = "independent"
    """Which neighbours are kept: a draw for each vertex, or those whose sources have the smallest
    keys, new ones in every step (`shared`) or, one source after the other, every `draw_every` steps
    (`dependent`): minibatches have more in common then, and fewer rows move."""
    draw_every: int = DEFAULT_DRAW_EVERY
    """Steps for which a source keeps its key with `draw="dependent"`."""
    first_hop: FirstHop | None = None
    """What of all in-neighbours' features each vertex brings along as `x_first`, in place of the
    last hop of `fanout`, which is not sampled then: their `mean`, their `sum`, or what `gcn` takes
    (which leaves `x` out). Computed once and kept beside the partition."""
    first_hop_bytes: int = CHUNK_BYTES
    """Memory of a rank that computing it may take."""
    arrays: str | Sequence[str] = ("x",)
    """Per-vertex arrays fetched for all vertices."""
    edge_ids: bool = False
    """Whether to hand over `e_id` `[num_edges]`, the edges' numbers in the input."""
    edge_attr: bool = False
    """Whether to hand over `edge_attr` `[num_edges, ...]`, the attributes of the edges."""
    adj_t: bool = False
    """Whether to hand over `adj_t`, the edges as a sparse CSR tensor."""
    transform: Transform | None = None
    """Called with every batch before it is yielded, in one of the threads."""
    pin_memory: bool = False
    """Whether features are gathered into page-locked memory, which a GPU copies from faster."""
    device: torch.device | str | int | None = None
    """Where the halo cache's rows are kept and `x` (without `cache` the first of `arrays`) is put
    together, on the default stream: a GPU, or the CPU as its stand-in. None gathers in the CPU's
    memory, by the kernels alone."""
    cache: CacheConfig | None = DEFAULT_CACHE
    """Options of halo cache and prefetching, those of the command line by default; None makes each
    batch when it is asked for and keeps no remote rows."""
    num_epochs: int = 1
    """Epochs that will be taken, from 0 on: towards the end of one the first batches of the next
    are made."""
    policy: Policy | PolicyChoice = "static"
    """Who decides when rows of the halo cache are replaced: a name, options, an object with `name`
    and `decide` (each rank its own), or one of these with all that belongs to it. By default the
    schedule of `cache.period`."""

    def __post_init__(self) -> None:
        """Checks what needs no graph.

        Raises:
            ConfigError: if an option is out of range, no policy has that name, a policy is given
                and `cache` is None, or there is no GPU to pin memory for or to put features on.
        """
        as_fanout(self.fanout)
        as_names("arrays", self.arrays)
        if self.weight_attr is not None and not isinstance(self.weight_attr, str):
            raise ConfigError(
                "weight_attr must be the name of edge weights, got "
                f"{reprlib.repr(self.weight_attr)}"
            )
        object.__setattr__(self, "draw_every", as_whole_number("draw_every", self.draw_every))
        steps_of_a_key(self.draw, self.draw_every, self.replace)
        self._check_first_hop()
        # Numbers of NumPy and torch become Python's: they are part of what tells schedules apart.
        object.__setattr__(self, "seed", as_whole_number("seed", self.seed))
        num_epochs = as_whole_number("num_epochs", self.num_epochs, least=0)
        object.__setattr__(self, "num_epochs", num_epochs)
        if self.transform is not None and not callable(self.transform):
            raise ConfigError(
                f"transform must be a function of a batch, got {reprlib.repr(self.transform)}"
            )
        check_memory(as_device(self.device), self.pin_memory)
        if self.cache is not None and not isinstance(self.cache, CacheConfig):
            raise ConfigError(
                f"cache must be a CacheConfig, or None for no cache, got {reprlib.repr(self.cache)}"
            )
        name = self.policy_choice.name
        if self.cache is None and name not in WITHOUT_CACHE:
            raise ConfigError(
                f"policy '{name}' steers the halo cache, which cache=None switches off; leave out "
                "one of the two"
            )

    def _check_first_hop(self) -> None:
        number = as_whole_number("first_hop_bytes", self.first_hop_bytes, least=1)
        object.__setattr__(self, "first_hop_bytes", number)
        if self.first_hop is None:
            return
        if self.first_hop not in FIRST_HOPS:
            known = ", ".join(FIRST_HOPS)
            given = reprlib.repr(self.first_hop)
            raise ConfigError(f"first_hop must be None or one of {known}, got {given}")
        if FEATURES not in as_names("arrays", self.arrays):
            raise ConfigError(
                f"first_hop='{self.first_hop}' is made of '{FEATURES}', which arrays="
                f"{reprlib.repr(self.arrays)} leaves out"
            )
        if self.weight_attr is not None:
            raise ConfigError(
                f"first_hop='{self.first_hop}' has all in-neighbours alike, and weight_attr="
                f"{self.weight_attr!r} draws them by weight; leave out one of the two"
            )
        if self.edge_attr:
            raise ConfigError(
                f"first_hop='{self.first_hop}' knows nothing of edges; leave out edge_attr or "
                "first_hop"
            )

    @property
    def hops(self) -> tuple[int, ...]:
        """Neighbours kept per hop that is sampled."""
        fanout = as_fanout(self.fanout)
        return fanout if self.first_hop is None else fanout[:-1]

    @property
    def policy_choice(self) -> PolicyChoice:
        """Who decides, with all that belongs to it."""
        given = self.policy
        return given if isinstance(given, PolicyChoice) else PolicyChoice(given)

    @property
    def cache_config(self) -> CacheConfig:
        """Options of cache and prefetching as they hold, without a cache too."""
        if self.cache is None:
            return _ONE_BY_ONE
        if self.policy_choice.name == "none":
            return dataclasses.replace(self.cache, scorer="none")
        return self.cache

    def prefetch_depth(self, num_ranks: int) -> int:
        """Minibatches whose rows are fetched ahead in a job of so many ranks."""
        depth = self.cache_config.prefetch_depth
        if depth is not None:
            return depth
        device = as_device(self.device)
        for_gpu = self.pin_memory or (device is not None and device.type == "cuda")
        return DEFAULT_DEPTH if num_ranks > 1 or for_gpu else 0

    def minibatch(self, seed_arrays: tuple[str, ...], num_steps: int) -> MinibatchOptions:
        """What a minibatch holds.

        Args:
            seed_arrays: per-vertex arrays fetched for the seeds alone.
            num_steps: steps of an epoch.
        """
        return MinibatchOptions(
            fanout=self.hops,
            first_hop=self.first_hop,
            seed=self.seed,
            replace=self.replace,
            weight_attr=self.weight_attr,
            draw=self.draw,
            draw_every=self.draw_every,
            num_steps=num_steps,
            arrays=as_names("arrays", self.arrays),
            seed_arrays=seed_arrays,
            with_edge_ids=self.edge_ids,
            with_edge_attr=self.edge_attr,
            with_adj_t=self.adj_t,
            transform=self.transform,
            pin_memory=self.pin_memory,
            device=as_device(self.device),
        )


class LoaderKeywords(PygNames, total=False):
    """What loaders take by name: the fields of `LoaderOptions`, what belongs to `policy`, PyG's."""

    shuffle: bool
    seed: int
    replace: bool
    weight_attr: str | None
    draw: DrawName
    draw_every: int
    first_hop: FirstHop | None
    first_hop_bytes: int
    arrays: str | Sequence[str]
    edge_ids: bool
    edge_attr: bool
    adj_t: bool
    transform: Transform | None
    pin_memory: bool
    device: torch.device | str | int | None
    cache: CacheConfig | None
    num_epochs: int
    policy: Policy | PolicyChoice
    policy_options: PolicyConfig | None
    run_dir: Path | str | None


_OF_POLICY = {"policy_options": "options", "run_dir": "run_dir"}
"""What else may be said of the policy: the keyword, and the field of `PolicyChoice`."""
_FIELDS = {field.name: field for field in dataclasses.fields(LoaderOptions)}


def chosen_options(
    options: LoaderOptions | None, given: Mapping[str, object], **positional: object
) -> LoaderOptions:
    """The options of a loader.

    Args:
        options: those given as a whole, if any.
        given: those given by name, and others that are left alone.
        positional: those that have a place of their own, None where not given.

    Raises:
        ConfigError: if one of them is out of range.
    """
    if options is not None and not isinstance(options, LoaderOptions):
        raise ConfigError(f"options must be LoaderOptions, got {reprlib.repr(options)}")
    options = options or LoaderOptions()
    named = {name: value for name, value in given.items() if name in _FIELDS}
    named |= {name: value for name, value in positional.items() if value is not None}
    changed: dict[str, Any] = named
    options = dataclasses.replace(options, **changed)
    about = {_OF_POLICY[name]: value for name, value in given.items() if name in _OF_POLICY}
    if not about:
        return options
    more: dict[str, Any] = about
    return dataclasses.replace(options, policy=dataclasses.replace(options.policy_choice, **more))


def signature_with_options(init: Callable[..., None]) -> inspect.Signature:
    """The signature of a loader that names every option, for `help` and for messages.

    Args:
        init: the loader's `__init__`: `self`, parameters of its own, `options` and `**named`.
    """
    _, *own, _ = inspect.signature(init).parameters.values()
    positional = {each.name for each in own}
    shown = [
        each.replace(default=_FIELDS[each.name].default) if each.name in _FIELDS else each
        for each in own
    ]
    named = [(field.name, field.default, field.type) for field in _FIELDS.values()]
    named += [(name, None, LoaderKeywords.__annotations__[name]) for name in _OF_POLICY]
    shown += [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind)
        for name, default, kind in named
        if name not in positional
    ]
    return inspect.Signature(shown)
