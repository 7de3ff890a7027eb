"""The loop on real shards: one process or two, killed and resumed, and what happens to non-finite steps."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from projects import corpus_shards, write_params
from torch import nn
from trainings import command, environment, kill, run
from waiting import wait_for

from amd.config import load_params
from amd.models.loading import open_model
from amd.models.precision import cpu_gains_by_bfloat16, fastest_precision
from amd.runtime.errors import UserError
from amd.training.distributed import Process
from amd.training.loop import NON_FINITE_LIMIT, TrainSettings, train

ALONE = Process(0, 1, torch.device("cpu"))
TINY = {
    "corpus": {"train_clips": 4, "heldout_clips": 1, "frames": 6, "width": 96, "height": 64, "workers": 1},
    "shard": {"short_edge": 64, "workers": 1, "min_change": 0.0},
    "model": {"segments": 3, "dropout": 0.1, "motion_height": 64, "motion_width": 64},
    "pretrain": {
        "iterations": 12, "batch_size": 2, "num_workers": 0, "short_edge": 50, "crop": 48, "precision": "float32",
        "checkpoint_every": 3, "log_every": 1,
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with tiny shards and the params.yaml that made them."""
    folder = tmp_path_factory.mktemp("project")
    write_params(folder / "params.yaml", TINY)
    corpus_shards(folder, load_params(folder / "params.yaml"))
    return folder


def shards(project: Path) -> tuple[str, str]:
    return "--index", str(project / "shards/index.parquet")


def losses(history: dict) -> list[float]:
    return [row["loss"] for row in history["curve"]]


@pytest.fixture(scope="module")
def undisturbed(project: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict, Path]:
    out = tmp_path_factory.mktemp("undisturbed")
    return run("pretrain", project / "params.yaml", out, *shards(project)), out


def test_it_learns_and_says_how(undisturbed):
    history, out = undisturbed
    assert history["iterations"] == 12
    assert history["skipped_steps"] == 0
    assert history["pairs_per_s"] > 0
    assert losses(history)[-1] < losses(history)[0]
    assert {"area_0", "motion_2", "gradient_norm", "learning_rate"} <= history["curve"][0].keys()
    model, info = open_model(out / "model.safetensors")
    assert not model.training
    assert info.params["pretrain"]["crop"] == 48


def test_killed_at_any_moment_it_goes_on_as_if_nothing_had_happened(project, undisturbed, tmp_path):
    """SIGKILL twice, at different moments; then the loss curve is that of the undisturbed run, bit for bit."""
    params = project / "params.yaml"
    for iteration in (3, 6):
        saved = lambda state, iteration=iteration: state.exists() and iteration_of(state) >= iteration
        kill("pretrain", params, tmp_path, *shards(project), when=saved)
    history = run("pretrain", params, tmp_path, *shards(project))
    assert losses(history) == losses(undisturbed[0])
    ours, theirs = (
        open_model(tmp_path / "model.safetensors")[0],
        open_model(undisturbed[1] / "model.safetensors")[0],
    )
    for name, tensor in ours.state_dict().items():
        torch.testing.assert_close(tensor, theirs.state_dict()[name], rtol=0, atol=0, msg=name)


def test_a_signal_saves_and_says_how_to_go_on(project, tmp_path):
    params = project / "params.yaml"
    process = subprocess.Popen(
        command("pretrain", params, tmp_path, *shards(project)), env=environment(), stderr=subprocess.PIPE, text=True
    )
    wait_for((tmp_path / "state.safetensors").exists, 120)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    if process.returncode == 0:
        pytest.skip("the run ended before the signal")
    assert process.returncode == 130
    assert "continues" in errors.splitlines()[-1]
    assert iteration_of(tmp_path / "state.safetensors") >= 3


def iteration_of(state: Path) -> int:
    from safetensors import safe_open

    with safe_open(state, framework="pt") as file:
        return json.loads(file.metadata()["progress"])["iteration"]


def test_two_processes_have_the_gradients_of_one(tmp_path):
    """Two ranks with a pair each against one process with both pairs: gradients and statistics to rounding.

    Kept activations and recomputed ones, both.
    """
    program = tmp_path / "gradients.py"
    program.write_text(GRADIENTS)
    results = []
    for processes in (1, 2):
        out = tmp_path / f"{processes}.pt"
        subprocess.run(
            [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}",
             str(program), str(out)], env=environment(), check=True, capture_output=True,
        )  # fmt: skip
        results.append(torch.load(out, weights_only=True))
    one, two = results
    assert one.keys() == two.keys()
    for name in one:
        plain = one[name.replace(", True", ", False")]
        torch.testing.assert_close(one[name], plain, atol=0, rtol=0, msg=name)
        scale = one[name].abs().max().clamp(min=1e-4)
        assert ((one[name] - two[name]).abs().max() / scale).item() < 2e-3, name


GRADIENTS = """
import os, sys
os.environ.pop("WORLD_SIZE") if os.environ["WORLD_SIZE"] == "1" else None
import torch
from torch.nn.parallel import DistributedDataParallel
from amd.data.pairs.read import Batch
from amd.training.distributed import join_processes, synchronise_batch_norm
from amd.models.amd import AMD, Architecture
from amd.training.pretrain import PairObjective
from amd.training.activation_checkpointing import checkpoint_activations

torch.manual_seed(0)
images = torch.randint(0, 256, (2, 2, 48, 48, 3), dtype=torch.uint8)
gradients = {}
with join_processes("cpu") as process:
    for recompute in (False, True):
        torch.manual_seed(1)
        objective = PairObjective(AMD(Architecture("small", 3, 4, 0.0, "small", 64, 64)))
        synchronise_batch_norm(objective)
        if recompute:
            checkpoint_activations(objective)
        model = DistributedDataParallel(objective) if process.count > 1 else objective
        share = slice(process.rank, process.rank + 1) if process.count > 1 else slice(0, 2)
        scalars = model(Batch(images[0, share], images[1, share], []))
        scalars["loss"].backward()
        gradients |= {f"{name}, {recompute}": each.grad.float() for name, each in objective.named_parameters()}
        gradients |= {f"{name}, {recompute}": each.float() for name, each in objective.named_buffers()}
    if process.is_main:
        torch.save(gradients, sys.argv[1])
"""


def test_two_processes_train(project, tmp_path):
    changes = {"iterations": 3, "processes": 2, "batch_size": 1}
    params = write_params(tmp_path / "params.yaml", TINY, {"pretrain": changes})
    history = run("pretrain", params, tmp_path / "two", *shards(project), processes=2)
    assert history["iterations"] == 3
    open_model(tmp_path / "two/model.safetensors")


class Fragile(nn.Module):
    """An objective that is not finite whenever the batch says so."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 1)
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, batch: torch.Tensor) -> dict[str, torch.Tensor]:
        self.seen += batch.sum()
        return {"loss": self.layer(batch).square().mean()}


def fragile_run(bad: set[int], state: Path, iterations: int = 12):
    torch.manual_seed(0)
    objective = Fragile()
    optimiser = torch.optim.Adam(objective.parameters(), 0.01)

    def batches(start: int):
        for number in range(start, 1000):
            yield torch.full((4, 2), float("nan") if number in bad else 1.0)

    settings = TrainSettings(iterations, 2, 1, torch.float32, lambda _: 0.01, seed=0)
    return objective, train(objective, optimiser, batches, settings, ALONE, state)


def test_a_non_finite_step_is_skipped_and_counted(tmp_path):
    objective, progress = fragile_run({3, 7}, tmp_path / "state.safetensors")
    assert progress.skipped == 2
    assert torch.isfinite(objective.layer.weight).all()
    assert objective.seen.item() == 10 * 8  # the buffers of skipped steps were put back
    assert [row["skipped"] for row in progress.history] == [0] * 3 + [1] * 4 + [2] * 5


def test_several_non_finite_steps_stop_with_the_last_good_state(tmp_path):
    state = tmp_path / "state.safetensors"
    with pytest.raises(UserError, match=f"not finite in {NON_FINITE_LIMIT} iterations in a row, .* 9;"):
        fragile_run(set(range(4, 12)), state)
    assert iteration_of(state) == 4
    _, progress = fragile_run(set(), state)
    assert progress.iteration == 12


def test_a_state_of_another_network_is_refused(tmp_path):
    state = tmp_path / "state.safetensors"
    fragile_run(set(), state)
    other = nn.Module()
    other.layer = nn.Linear(3, 1)
    optimiser = torch.optim.Adam(other.parameters())
    settings = TrainSettings(20, 2, 1, torch.float32, lambda _: 0.01, seed=0)
    with pytest.raises(UserError, match="not a state of this training"):
        train(other, optimiser, lambda start: iter(()), settings, ALONE, state)
    state.write_bytes(b"half a file")
    with pytest.raises(UserError, match="not a state of this training"):
        fragile_run(set(), state)


def test_precision_is_chosen_by_the_machine():
    cpu = torch.device("cpu")
    gains = cpu_gains_by_bfloat16(torch.cpu.get_capabilities())
    assert fastest_precision("auto", cpu) == (torch.bfloat16 if gains else torch.float32)
    assert fastest_precision("float32", cpu) == torch.float32
    vectors, matrices = {"avx512_bf16": True, "amx_bf16": False}, {"avx512_bf16": True, "amx_bf16": True}
    assert cpu_gains_by_bfloat16({"cpu_name": "AMD EPYC 9R14"} | vectors)
    assert not cpu_gains_by_bfloat16({"cpu_name": "Intel Xeon"} | vectors)  # no faster there, and converted at a cost
    assert cpu_gains_by_bfloat16({"cpu_name": "Intel Xeon"} | matrices)
    assert not cpu_gains_by_bfloat16({"cpu_name": "Apple M1"})


def test_another_seed_has_another_curve(project, undisturbed, tmp_path):
    changed = write_params(tmp_path / "params.yaml", TINY, {"pretrain": {"seed": 1, "iterations": 1}})
    assert losses(run("pretrain", changed, tmp_path / "other", *shards(project)))[0] != losses(undisturbed[0])[0]
