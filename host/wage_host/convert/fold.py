"""The nodes of a model as the layers of a board: folded together, one behind the other."""

from __future__ import annotations

import dataclasses
from collections import Counter
from math import prod

import numpy as np

from wage_host._core import lib
from wage_host.convert.graph import (
    ADD,
    AFFINE,
    AVERAGE,
    CLIP,
    CONV,
    DENSE,
    DEPTHWISE,
    INF,
    INPUT,
    MAX,
    Graph,
    Node,
)
from wage_host.convert.weights import Weights
from wage_host.layers import Pair, Shape

WEIGHTED = (CONV, DEPTHWISE, DENSE)
POINT = (0, 0, 0, 0)


class Unfit(Exception):
    """The layers cannot stand one behind the other: where, and what to do."""


@dataclasses.dataclass(frozen=True)
class Block:
    """What one layer of a board computes, in floats.

    The sums (conv, dense, …), then a max-pool of 2 x 2 where pool is 2, then the clip from low to
    high: 0 … inf is ReLU, -inf … inf nothing. `sources`: the layers whose outputs it takes, or
    INPUT; the first one is the layer below. Weights and bias as those of graph.Node; `weights`
    makes them from `held`, anew each time.
    """

    op: str
    names: tuple[str, ...]
    sources: tuple[int, ...]
    input: Shape
    sums: Shape
    output: Shape
    held: Weights | None = None
    bias: np.ndarray | None = None
    kernel: Pair = (1, 1)
    stride: Pair = (1, 1)
    padding: tuple[int, int, int, int] = POINT
    pool: int = 1
    low: float = -INF
    high: float = INF
    acts: bool = False  # the clip has come, so that nothing linear may be folded in any more
    scale: np.ndarray | None = None
    out_scale: float | None = None
    biased: bool = True  # the model has a bias here

    @property
    def name(self) -> str:
        """What it was first."""
        return self.names[0]

    @property
    def weights(self) -> np.ndarray | None:
        """In float64."""
        return None if self.held is None else self.held.exact()

    @property
    def fan_in(self) -> int:
        """Products in a sum; 0: there are no weights."""
        return 0 if self.held is None else prod(self.held.shape[1:])


def blocks(graph: Graph) -> tuple[Block, ...]:
    """The layers of a graph; Unfit when they are not one behind the other."""
    made = _Folded(graph).run()
    if len(made) > lib.WAGE_LAYERS_MAX:
        raise Unfit(
            f"it has {len(made)} layers, normalisations and activations not counted: a board takes "
            f"{lib.WAGE_LAYERS_MAX}: use fewer blocks"
        )
    beside = []
    for k, block in enumerate(made):
        if (k - 1 if k else INPUT) not in block.sources:
            beside.append(block.name)
            continue
        before = made[k - 1].output if k else graph.shape
        if before != block.input and block.op != DENSE:
            raise Unfit(f"{block.name}: a reshape in front of it gives values another place")
    if beside:
        raise Unfit(
            f"{', '.join(beside)}: beside the path: a board runs layers one behind the other, with "
            "sums (Add) of what lies below: train the blocks without a projection"
        )
    taken = Counter(block.sources[1] for block in made if block.op == ADD)
    for block in made:
        if block.op == ADD and taken[block.sources[1]] > 1:
            raise Unfit(
                f"{block.name} adds what another sum adds, too: a tensor can be added once"
            )
    for k in range(INPUT, len(made) - 1):  # each tensor goes up, and into one sum at most
        others = [b for b in made if k in b.sources and b is not made[k + 1] and b.op != ADD]
        if others:
            raise Unfit(
                f"{others[0].name} is beside the path: a board has no layer on a skip, only sums "
                "with it (train the block without a projection)"
            )
    _check_end(made[-1])
    return tuple(made)


def _check_end(last: Block) -> None:
    if last.op not in (*WEIGHTED, AVERAGE) or last.output[:2] != (1, 1) or last.pool != 1:
        raise Unfit(f"{last.name} gives no classes: end with Gemm, a convolution or an average")
    if last.acts:
        raise Unfit(
            f"{last.names[-1]} is behind the classes: end with what goes into the softmax"
        )
    if not 2 <= last.output[2] <= 255:
        raise Unfit(f"{last.name} has {last.output[2]} outputs: a board tells 2 to 255 apart")


class _Folded:
    """Nodes taken one by one."""

    def __init__(self, graph: Graph):
        self.graph = graph
        self.made: list[Block] = []
        self.at: dict[int, int] = {INPUT: INPUT}  # of a node: its block
        self.users = Counter(s for node in graph.nodes for s in node.sources)

    def run(self) -> list[Block]:
        """All blocks."""
        for number, node in enumerate(self.graph.nodes):
            sources = tuple(self.at[s] for s in node.sources)
            alone = all(self.users[s] == 1 for s in node.sources) and sources[0] != INPUT
            below = self.made[sources[0]] if alone else None
            folded = below and self._into(below, node)
            if folded:
                names = (*below.names, node.name)
                scale = node.out_scale or below.out_scale
                self.made[sources[0]] = dataclasses.replace(folded, names=names, out_scale=scale)
                self.at[number] = sources[0]
            elif node.op == CLIP and below and node.low == 0 and node.high == INF and _positive(
                self.made, sources[0]
            ):
                self.at[number] = sources[0]  # nothing is below 0
            elif below and node.op in WEIGHTED and (behind := self._behind(below, node)):
                self.made[sources[0]] = behind
                self.at[number] = sources[0]
            else:
                self.made.append(self._block(node, sources))
                self.at[number] = len(self.made) - 1
        return self.made

    def _behind(self, below: Block, node: Node) -> Block | None:
        """The node with a normalisation in front folded in; None: it pads, or there is none."""
        linear = below.op == DEPTHWISE and below.kernel == below.stride == (1, 1)
        pure = not below.acts and below.out_scale is None and below.input == below.output
        if not (linear and pure) or (any(node.padding) and below.bias.any()):
            return None
        block, factor = self._block(node, below.sources), below.weights.reshape(-1)
        names, biased = (*below.names, node.name), block.biased or bool(below.bias.any())
        made = with_input(block, factor, below.bias)
        return dataclasses.replace(made, names=names, biased=biased)

    def _into(self, below: Block, node: Node) -> Block | None:
        """The block below with the node folded in; None when it must stand alone."""
        if below.out_scale is not None and (node.op != CLIP or node.low != 0):
            return None  # it is rounded before, which is the same for what is above 0
        if node.op == AFFINE and below.op in WEIGHTED and not below.acts:
            factor = node.weights.exact()
            if below.pool == 2 and (factor <= 0).any():
                return None
            return _scaled(below, factor, node.bias)
        if node.op == CLIP and below.op in (*WEIGHTED, ADD):
            low, high = max(below.low, node.low), min(below.high, node.high)
            if low == -INF or low == 0 or low == -high:
                return dataclasses.replace(below, low=low, high=high, acts=True)
            return None
        if node.op == CLIP and below.op == MAX and len(below.sources) == 1:
            return self._under(below, node)
        half = (0, 0, below.sums[0] % 2, below.sums[1] % 2)  # a last window that is half
        pools = node.op == MAX and node.kernel == node.stride == (2, 2) and node.padding == half
        if pools and below.op in (CONV, DEPTHWISE) and below.pool == 1:
            return dataclasses.replace(below, pool=2, output=node.output)
        return None

    def _under(self, pool: Block, node: Node) -> Block | None:
        """A clip behind a max-pool does the same in front of it."""
        source = pool.sources[0]
        if source == INPUT or self.made[source].op not in (*WEIGHTED, ADD):
            return None
        if self.users[max(n for n, at in self.at.items() if at == source)] != 1:
            return None  # others take it without the clip
        under = self._into(self.made[source], node)
        if under is None:
            return None
        self.made[source] = under
        return pool

    @staticmethod
    def _block(node: Node, sources: tuple[int, ...]) -> Block:
        """A node as a layer of its own."""
        about = {f: getattr(node, f) for f in ("kernel", "stride", "padding", "out_scale")}
        op, held, bias, sums = node.op, node.weights, node.bias, node.output
        if op == ADD:
            sources = tuple(sorted(sources, reverse=True))
        if op in (AFFINE, CLIP):  # a depthwise convolution of one place
            held = Weights.of(_all(1.0, node.output[2])) if op == CLIP else held
            bias = _all(0.0, node.output[2]) if op == CLIP else bias
            op, held = DEPTHWISE, held.moved(lambda w: w[:, None, None])
        biased = bias is not None
        if op in WEIGHTED:
            bias = _all(0.0, node.output[2]) if bias is None else bias
        clip = {"low": node.low, "high": node.high, "acts": True} if node.op == CLIP else {}
        return Block(
            op, (node.name,), sources, node.input, sums, node.output, held, bias,
            scale=node.scale, biased=biased, **about, **clip,
        )  # fmt: skip


def _all(value: float, count: int) -> np.ndarray:
    """A vector of one value, which takes no memory."""
    return np.broadcast_to(value, count)


def _scaled(block: Block, factor: np.ndarray, offset: np.ndarray) -> Block | None:
    """The block with its sums times factor plus offset, one of each an output."""
    if len(factor) != block.held.shape[0]:
        return None
    kept = block.scale if (factor == 1).all() else None
    return dataclasses.replace(
        block, held=block.held.times(factor), bias=block.bias * factor + offset, scale=kept,
        biased=True,
    )  # fmt: skip


def _positive(made: list[Block], k: int) -> bool:
    """Nothing that block k gives is below 0."""
    block = made[k]
    if block.op in (MAX, AVERAGE):
        return block.sources[0] != INPUT and _positive(made, block.sources[0])
    return block.low >= 0


def with_input(block: Block, factor: np.ndarray, offset: np.ndarray) -> Block:
    """The first block for an input that is times factor plus offset, one of each a channel.

    Only right where the block does not pad, or offset is 0.
    """
    w = block.weights
    if block.op == DEPTHWISE:
        by = factor[:, None, None], offset[:, None, None]
    elif block.op == CONV:
        by = factor, offset
    else:
        places = prod(block.input[:2])
        by = np.tile(factor, places), np.tile(offset, places)
    bias = block.bias + (w * by[1]).reshape(len(w), -1).sum(1)
    return dataclasses.replace(block, held=Weights.of(w * by[0]), bias=bias, scale=None)


def normaliser(shape: Shape, factor: np.ndarray, offset: np.ndarray) -> Block:
    """A layer that only does that."""
    held = Weights.of(factor.reshape(-1, 1, 1))
    return Block(DEPTHWISE, ("the normalisation",), (INPUT,), shape, shape, shape, held, offset)


def in_front(block: Block, made: tuple[Block, ...]) -> tuple[Block, ...]:
    """A block in front of all others."""
    return (block, *(
        dataclasses.replace(b, sources=tuple(s + 1 for s in b.sources)) for b in made
    ))  # fmt: skip
