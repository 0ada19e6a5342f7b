"""The training step for accelerators equals the C engine: on this CPU, every product, whole runs.

accuracy.proof has the cases; on a GPU `python -m accuracy.vgg7 --only-prove` runs the same ones.
"""

# SPDX-License-Identifier: MIT

import dataclasses
import os
from collections.abc import Iterator
from pathlib import Path

import blobs
import numpy as np
import pytest

torch = pytest.importorskip(
    "torch", reason="PyTorch is not installed: pip install -e '.[accuracy]' brings it"
)

from accuracy import exact, integer, proof, sets, shards, vgg7  # noqa: E402
from accuracy.table import Task, published  # noqa: E402
from reference import num  # noqa: E402
from wage_host import augment, data  # noqa: E402

GROUPS = {
    "limits": proof.limit_cases,
    "sums": proof.sum_cases,
    "ties": proof.tie_cases,
    "others": proof.other_cases,
}
TINY = Task(
    name="tiny",
    title="a small net",
    data="digits",
    net="8x8x1 6C3-MP2 8C3 10FC",
    augment="crop1,flip",
    epochs=3,
    seeds=(1,),
    twin=None,
)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Tensors here are small."""
    with proof.one_thread():
        yield


@pytest.mark.parametrize("group", GROUPS)
def test_exact_equals_c_on_extremes(group: str) -> None:
    """Inputs and weights at their ends, the longest sums, ties, scales and rates."""
    for case in GROUPS[group]():
        proof.compare(case)


def test_exact_equals_c_on_random_nets(seed: int) -> None:
    """Any widths, windows, losses, rates and batches."""
    for number in range(60):
        proof.compare(proof.random_case(seed + number))


def test_exact_equals_c_where_maxima_are_zero() -> None:
    """No shift is made of a zero, and no weight changes where none may (5.3, 5.5)."""
    for case, still in proof.zero_cases():
        assert proof.compare(case).still == still, case.name


@pytest.mark.parametrize("product", ["int8", "float64"])
def test_exact_with_other_products(product: str, seed: int) -> None:
    """What a GPU uses gives the same bits here, at the longest sums, too."""
    for case in (*proof.sum_cases(), *(proof.random_case(seed + n) for n in range(10))):
        proof.compare(case, product=exact.PRODUCTS[product])


def test_proof_reaches_the_longest_sums() -> None:
    """Gradients and errors of two billion are among the cases."""
    seen = [proof.compare(case) for case in proof.sum_cases()]
    assert max(s.gradient for s in seen) == 131072 * 128 * 127
    assert max(s.error for s in seen) > 2_000_000_000


def in_one_part(a: torch.Tensor, b: torch.Tensor, bound: int) -> torch.Tensor:
    """The usual mistake: sums of float32 beyond 2^24."""
    return (a.to(torch.float32) @ b.to(torch.float32).t()).to(torch.int32)


def shifted(a: torch.Tensor, b: torch.Tensor, bound: int) -> torch.Tensor:
    """A product in which one number is wrong by one."""
    out = exact.product_float64(a, b, bound)
    out[-1, -1] += 1
    return out


@pytest.mark.parametrize("wrong", [in_one_part, shifted])
def test_proof_sees_wrong_products(
    wrong: exact.Product, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """Then nothing is trained; in a net of real size each sum is looked at."""
    monkeypatch.setitem(exact.PRODUCTS, "float32", wrong)
    assert vgg7.main(["--data", "nowhere"]) == 1
    assert "not exact: products of" in capsys.readouterr().out
    net, how = integer.prepare(TINY, published("1@0"), 1, 1)
    proof.prove_whole(vgg7.blob_of(net, how), "cpu", "float64")
    if wrong is shifted:
        with pytest.raises(proof.DifferentError):
            proof.prove_whole(vgg7.blob_of(net, how), "cpu", "float32")


@pytest.mark.parametrize("product", exact.PRODUCTS)
def test_products(product: str) -> None:
    """Each way of making them equals NumPy's integers."""
    proof.check_product(exact.PRODUCTS[product], "cpu")


def test_product_bounds() -> None:
    """All products at their largest, in parts, equal the sum in Python's integers."""
    for count in (1, 1031, 1032, 1033, 5000, 131072):
        for a, b in ((-128, -127), (-128, 127), (127, 127)):
            rows = torch.full((2, count), a, dtype=torch.int8)
            columns = torch.full((3, count), b, dtype=torch.int8)
            for make in exact.PRODUCTS.values():
                out = make(rows, columns, 128 * 127)
                assert out.shape == (2, 3)
                assert (out == count * a * b).all()


def test_draws() -> None:
    """Words and fractions of SPEC 1.7 and 1.8, and its check."""
    index = torch.tensor([0, 1, 2, 65535, 65536, (1 << 31) - 1, (1 << 32) - 1])
    for key in (0, 1, 0x9834EEDC, 0xFFFFFFFF):
        wanted = [num.draw(key, int(i)) for i in index]
        assert exact.draws(key, index).tolist() == wanted
        fractions = [num.fraction(key, i) for i in range(9)]
        assert exact.fractions(key, 9, torch.device("cpu")).tolist() == fractions
    assert exact.draws(0x9834EEDC, index[:2]).tolist() == [0xA3297841, 0xD9132248]


def test_roundings() -> None:
    """rne and stochastic_shift at their ends equal the oracle's."""
    ends = [0, 1, 2, 3, 63, 64, 65, 127, 128, 192, 16129, 2130706432]
    x = torch.tensor([*ends, *(-n for n in ends)], dtype=torch.int32)
    for n in range(32):
        assert exact.rne(x, n).tolist() == [num.rne(v, n) for v in x.tolist()]
    m = torch.tensor([*ends, (1 << 31) - 1])
    for n in range(-40, 70):
        for r in (0, 1, 32767, 65535):
            wanted = [num.stochastic_shift(v, n, r) for v in m.tolist()]
            found = exact.stochastic_shift(m, n, torch.full_like(m, r))
            assert found.tolist() == wanted, (n, r)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="PyTorch sees no GPU here")
@pytest.mark.parametrize("product", exact.PRODUCTS)
def test_gpu_equals_c(product: str) -> None:
    """All cases, and the paper's net with each of its sums looked at."""
    task = vgg7.TASKS[vgg7.TASK]
    vgg7.prove("cuda", product, task, shards.in_table(task, vgg7.MODE))


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_vgg7_itself_equals_c() -> None:
    """A step of the paper's net in its size, on a full batch."""
    task = vgg7.TASKS[vgg7.TASK]
    net, how = integer.prepare(task, shards.in_table(task, vgg7.MODE), 1, task.epochs)
    torch.set_num_threads(os.cpu_count() or 1)
    proof.compare(proof.whole_case(vgg7.blob_of(net, how), steps=1))


@pytest.mark.parametrize("how", ["", "crop4,flip", "crop2", "flip"])
def test_augmented_as_the_host_does(how: str) -> None:
    """The same pictures, and the same bytes become the same activations."""
    x = np.random.default_rng(1).integers(0, 256, (40, 9, 7, 3)).astype(np.uint8)
    index, parsed = np.arange(100, 140), augment.parse(how)
    wanted = augment.augmented(x, index, parsed, 5, 17)
    found = vgg7.augmented(torch.from_numpy(x), torch.from_numpy(index), parsed, 5, 17)
    assert np.array_equal(found.numpy(), wanted)
    for input_map in (0, 1):
        mapped = vgg7.activations(found, input_map).numpy()
        assert np.array_equal(mapped, data.activations(wanted, input_map))


def train(path: Path, **how: object) -> list[dict]:
    """The tiny net on a device, or by the C engine; rows without times."""
    split = sets.load("digits")
    some = data.Data("some", split.train.x[:300], split.train.labels[:300])
    run = vgg7.run if how.pop("torch", True) else integer.run
    epochs = how.pop("epochs", TINY.epochs)
    measured = {"validation": split.validation, "test": split.test}
    rows = run(TINY, published("8@0,1@1,1/8@2"), 1, epochs, some, measured, path, list, **how)
    return [{k: v for k, v in row.items() if k != "seconds"} for row in rows]


def weights(path: Path) -> dict[str, np.ndarray]:
    """The state in a checkpoint."""
    with np.load(path) as file:
        return {name: file[name] for name in file if name != "about"}


def test_run_equals_the_c_engine(tmp_path: Path) -> None:
    """Whole epochs with augmentation, schedule and a last part of a batch: rows and weights."""
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    assert train(ours) == train(theirs, torch=False)
    assert weights(ours).keys() == weights(theirs).keys()
    for name, array in weights(ours).items():
        assert np.array_equal(array, weights(theirs)[name])


def test_run_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped by time after each epoch it ends as a run at once; the C engine knows its end."""
    whole = train(tmp_path / "whole")
    clock = iter(range(0, 10_000, 100))
    monkeypatch.setattr(vgg7.time, "monotonic", lambda: next(clock))
    for _ in range(TINY.epochs - 1):
        with pytest.raises(vgg7.TimeOver):
            train(tmp_path / "parts", limit_s=450)
    monkeypatch.undo()
    assert train(tmp_path / "parts") == whole
    assert train(tmp_path / "parts", torch=False) == whole
    for name, array in weights(tmp_path / "parts").items():
        assert np.array_equal(array, weights(tmp_path / "whole")[name])


def test_result_is_a_shard(tmp_path: Path) -> None:
    """The file has the fields of the table's other runs."""
    task = dataclasses.replace(TINY, epochs=1)
    shard = shards.Shard(task, "paper", 1, published("8@0"))
    theirs = shards.run(shard, lambda line: None, None, tmp_path, tmp_path)
    where, made_with = vgg7.where_of("cpu"), shards.versions(shards.TWIN)
    ours = shards.finish(shard, theirs["epochs"], where, made_with, tmp_path / "ours")
    assert list(ours) == list(theirs)
    assert {k: v for k, v in ours.items() if k != "versions"} == {
        k: v for k, v in theirs.items() if k != "versions"
    }
    assert shards.checkpoint_of(shard, tmp_path).exists()


def test_unsupported_models_are_refused() -> None:
    """What this implementation does not have is no reason to be nearly right."""
    wrong = [
        blobs.small_blob(),  # the continual policy
        blobs.small_blob(flags=blobs.PAPER, momentum=3),
        blobs.make_blob(
            [blobs.depthwise(2, flags=1), blobs.dense(2, flags=1)],
            (3, 3, 2),
            header={"flags": blobs.PAPER},
        ),
        blobs.make_blob(
            [blobs.conv2d(2, flags=1, stride=(2, 2)), blobs.dense(2, flags=1)],
            (3, 3, 2),
            header={"flags": blobs.PAPER},
        ),
    ]
    for blob in wrong:
        with pytest.raises(exact.Unsupported):
            exact.Exact(blob)
