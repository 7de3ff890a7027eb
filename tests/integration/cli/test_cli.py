"""The `amd` command: fast help, one line per mistake, and every command on real files."""

import inspect
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from checkpoints import save_amd
from clips import encode
from layouts import write_davis
from PIL import Image
from projects import REPOSITORY, python

import amd
from amd.cli import main
from amd.cli.arguments import Command, Parser, add_commands
from amd.cli.program import COMMANDS
from amd.config import load_params
from amd.config.profiles import PROFILES, load_profile, profile_text


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every command runs in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return tmp_path


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_amd(tmp_path_factory.mktemp("model") / "small.safetensors", 5, 2, 32)


def fails(capsys: pytest.CaptureFixture, *arguments: object) -> str:
    """The one line on stderr of a command that exits with 2."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    assert ended.value.code == 2
    lines = [
        line for line in capsys.readouterr().err.replace("\r", "\n").splitlines() if line and "frames/s]" not in line
    ]
    assert len(lines) == 1, lines
    assert lines[0].startswith("error: ")
    return lines[0]


def davis(root: Path) -> Path:
    """A sequence in DAVIS's layout whose object is the left half."""
    truth = np.zeros((48, 64), bool)
    truth[:, :32] = True
    return write_davis(root, "bear", [(np.zeros((48, 64, 3), np.uint8), truth)] * 4, "png")


def test_help_is_the_manual_and_loads_nothing_heavy() -> None:
    heavy = ("torch", "mlflow", "numpy", "av", "psutil", "filelock", "pydantic", "shtab")
    for arguments in (["--help"], ["segment", "--help"]):
        code = (
            "import sys; from amd.cli import main\n"
            f"try: main({arguments})\n"
            f"except SystemExit: print(*[name for name in {heavy} if name in sys.modules])"
        )
        output = python("-c", code).stdout
        assert output.splitlines()[-1] == ""
        if arguments == ["--help"]:
            for command in ("segment", "score", "doctor", "import", "models", "profile", "examples"):
                assert re.search(rf"^ *{command}\b", output, re.MULTILINE)


def test_version_is_the_packages_and_stands_in_one_place(capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["--version"])
    assert capsys.readouterr().out == f"amd {amd.__version__}\n"
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    assert "version" not in project["project"]
    assert project["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "amd.__version__"}


def leaves(commands: Sequence[Command]) -> Iterator[Command]:
    for command in commands:
        yield from leaves(command.actions) if command.actions else [command]


@pytest.mark.parametrize("command", leaves(COMMANDS), ids=lambda command: command.name)
def test_a_commands_function_takes_the_arguments_that_are_declared(command: Command) -> None:
    """Arguments reach their function by name, so that a declaration is all that a new one needs."""
    parser = Parser()
    add_commands(parser, [command], "commands", "COMMAND")
    (subparsers,) = (action for action in parser._actions if isinstance(action.choices, dict))
    names = {action.dest for action in subparsers.choices[command.name]._actions} - {"help"}
    bound = inspect.signature(command.function()).bind(**dict.fromkeys(names))  # TypeError: one is missing, or too many
    assert {name for key, rest in bound.arguments.items() for name in (rest or (key,))} == names  # rest: **options


def test_completion_knows_commands_options_and_files(tmp_path: Path) -> None:
    script = tmp_path / "completion.bash"
    script.write_text(python("-m", "amd.cli", "--print-completion", "bash").stdout)
    (tmp_path / "clip.mp4").touch()

    def completed(*words: str) -> set[str]:
        code = 'source "$0"; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _shtab_amd; printf "%s\n" "${COMPREPLY[@]}"'
        bash = ["bash", "-c", code, str(script), *words]
        return set(subprocess.run(bash, capture_output=True, text=True, check=True).stdout.split())

    assert completed("amd", "se") == {"segment", "semantic"}
    assert {"--model", "--method"} <= completed("amd", "segment", "--m")
    assert completed("amd", "models", "ro") == {"rollback"}
    assert completed("amd", "segment", "--method", "t") == {"transfer"}
    assert completed("amd", "segment", "cl") == {"clip.mp4"}


@pytest.mark.parametrize(
    "command",
    ["segment", "score", "doctor", "import", "models", "models list", "models promote", "models pull", "profile"],
)
def test_every_command_explains_itself_with_an_example(command: str, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit, match="0"):
        main([*command.split(), "--help"])
    assert f"example\n  amd {command.split()[0]}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "amd: the following arguments are required: COMMAND"),
        (["segmnt"], "amd: argument COMMAND: invalid choice: 'segmnt'"),
        (["segment"], "amd segment: the following arguments are required: INPUT"),
        (["segment", "a.mp4", "--out", "o", "--model", "m", "--adapt", "0"], "'0' is not a whole number above 0"),
        (["segment", "a.mp4", "--out", "o", "--model", "m.safetensors"], "m.safetensors: no such checkpoint"),
        (["segment", "a.mp4", "--out", "o", "--model", "models:/x@champion"], "MLFLOW_TRACKING_URI"),
        (["doctor"], "give paths, or --dataset with --root"),
        (["doctor", "nowhere"], "nowhere: no such file or folder"),
        (["doctor", "--dataset", "davis2016"], "give paths, or --dataset with --root"),
        (["doctor", "--dataset", "kitti", "--root", "."], "kitti: no such benchmark"),
        (["score", "--dataset", "davis2016", "--root", "x", "--predictions", "y"], "x: no such folder"),
        (["import", "x.pth", "--out", "x.safetensors"], "x.pth: no such checkpoint"),
        (["models", "list"], "MLFLOW_TRACKING_URI"),
        (["models", "promote", "amd", "1"], "MLFLOW_TRACKING_URI"),
        (["models", "pull", "models:/amd/1", "--out", "x"], "MLFLOW_TRACKING_URI"),
        (["profile", "huge"], "argument name: invalid choice: 'huge'"),
    ],
)
def test_a_mistake_is_one_line(arguments: list[str], message: str, capsys: pytest.CaptureFixture) -> None:
    assert message in fails(capsys, *arguments)


def test_segment_writes_masks_and_says_where(checkpoint: Path, capsys: pytest.CaptureFixture) -> None:
    clip = encode(Path("clip.mp4"), frames=3)
    main(["segment", str(clip), "--model", str(checkpoint), "--out", "out", "--overlay", "--soft", "--adapt", "1"])
    assert "clip " in (printed := capsys.readouterr().out)
    assert "summary.json in out" in printed
    (folder,) = Path("out").glob("clip")
    assert sorted(path.name for path in folder.iterdir()) == ["masks", "overlay.mp4", "receipt.json", "soft"]


def test_segment_ends_with_2_when_an_input_failed(checkpoint: Path, capsys: pytest.CaptureFixture) -> None:
    clip = encode(Path("clip.mp4"), frames=3)
    Path("bad\x1b[31m.mp4").write_text("no video")
    line = fails(capsys, "segment", clip, "bad\x1b[31m.mp4", "--model", checkpoint, "--out", "out")
    assert line.startswith("error: 1 of 2 inputs failed: bad?[31m.mp4: not a readable video")
    rows = json.loads(Path("out/summary.json").read_text())["inputs"]
    assert [row["failed"] for row in rows] == [False, True]


def test_an_unwritable_place_is_one_line(checkpoint: Path, capsys: pytest.CaptureFixture) -> None:
    clip = encode(Path("clip.mp4"), frames=3)
    assert "clip.mp4" in fails(capsys, "segment", clip, "--model", checkpoint, "--out", clip / "out")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_is_one_line_and_130(number: signal.Signals, checkpoint: Path, tmp_path: Path) -> None:
    clip = encode(tmp_path / "long.mp4", frames=60, size=(480, 360))
    command = [sys.executable, "-m", "amd.cli", "segment", clip, "--model", checkpoint, "--out", "out"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
    while not list(tmp_path.glob("out/*/masks/*.png")):
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in errors
    assert errors.splitlines()[-1].startswith("interrupted")


@pytest.mark.parametrize("arguments", ["--help", "doctor videos"])
def test_a_reader_who_has_had_enough_ends_it_quietly(arguments: str, tmp_path: Path) -> None:
    (tmp_path / "videos").mkdir()
    encode(tmp_path / "videos/clip.mp4", frames=2)
    reading, writing = os.pipe()
    os.close(reading)  # before the first word, which is the worst that `head` can do
    command = [sys.executable, "-m", "amd.cli", *arguments.split()]
    ended = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True)
    os.close(writing)
    assert "Traceback" not in ended.stderr
    assert "BrokenPipe" not in ended.stderr
    assert "error" not in ended.stderr
    assert ended.returncode in (0, 128 + signal.SIGPIPE)


def test_doctor_fails_when_nothing_can_be_used(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos/a.mp4").touch()
    (tmp_path / "videos/b.mkv").write_text("no video")
    with pytest.raises(SystemExit) as ended:
        main(["doctor", "videos"])
    told = capsys.readouterr()
    assert ended.value.code == 2
    assert told.err.splitlines()[-1] == "error: none of 2 inputs can be used; the reasons stand above"
    assert "an empty file" in told.out


def test_doctor_prints_for_a_terminal(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    folder = tmp_path / "my_videos"
    folder.mkdir()
    encode(folder / "good_one.mp4")
    (folder / "empty_[1].mp4").touch()
    (folder / "photo.psd").touch()
    main(["doctor", "my_videos"])
    printed = capsys.readouterr().out
    assert not re.search(r"^#|\||\\\\|---|^- ", printed, re.MULTILINE)
    assert re.search(r"^  my_videos/empty_\[1\]\.mp4 +an empty file$", printed, re.MULTILINE)
    assert "left out 1 file of other formats: photo.psd" in printed
    assert "2: 1 accepted, 1 rejected" in printed
    assert [path.name for path in tmp_path.iterdir()] == ["my_videos"]  # nothing was written
    (heads,) = [line for line in printed.splitlines() if "promised" in line]
    (row,) = [line for line in printed.splitlines() if line.strip().startswith("good_one")]
    assert row.index("96x72") == heads.index("size")


def test_doctor_fails_when_an_annotation_is_damaged(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    root = davis(tmp_path / "davis")
    truth = root / "Annotations/480p/bear/00001.png"
    truth.write_bytes(truth.read_bytes()[:30])
    with pytest.raises(SystemExit) as ended:
        main(["doctor", "--dataset", "davis2016", "--root", str(root)])
    told = capsys.readouterr()
    assert ended.value.code == 2
    assert told.err.splitlines()[-1].startswith(f"error: damaged: {truth}: not a readable image")
    assert "bear" in told.out


@pytest.mark.parametrize("wrong", ["Annotations", "predictions"])
def test_score_blames_the_file_that_is_wrong(wrong: str, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    root = davis(tmp_path / "davis")
    shutil.copytree(root / "Annotations/480p", tmp_path / "predictions")
    folder = root / "Annotations/480p" if wrong == "Annotations" else tmp_path / "predictions"
    bad = folder / "bear/00001.png"
    Image.fromarray(np.zeros((24, 32), np.uint8)).save(bad)
    line = fails(capsys, "score", "--dataset", "davis2016", "--root", root, "--predictions", tmp_path / "predictions")
    assert line.startswith(f"error: {bad}: ")
    assert "32x24" in line
    assert "64x48" in line


def test_doctor_examines_benchmarks(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    main(["doctor", "--dataset", "davis2016", "--root", str(davis(tmp_path / "davis"))])
    printed = capsys.readouterr().out
    assert re.search(r"bear +4 +4 +2 +0 +64x48", printed)
    assert "1 sequences, 4 frames" in printed
    assert "NOT complete" in printed
    assert [path.name for path in tmp_path.iterdir()] == ["davis"]  # nothing was written


def test_the_projects_parameters_are_the_quickstart_profile() -> None:
    assert profile_text("quickstart") == (REPOSITORY / "params.yaml").read_text()


def test_the_paper_profile_has_the_papers_settings() -> None:
    params = load_profile("paper")
    assert (params.model.backbone, params.model.segments, params.model.output_stride) == ("resnet50", 5, 8)
    assert (params.model.motion, params.model.motion_height, params.model.motion_width) == ("pwc", 384, 640)
    pretrain = params.pretrain
    assert (pretrain.iterations, pretrain.batch_size, pretrain.processes) == (400_000, 2, 8)
    assert (pretrain.learning_rate, pretrain.min_learning_rate, pretrain.power) == (1e-4, 1e-6, 0.9)
    assert (pretrain.short_edge, pretrain.min_ratio, pretrain.crop, pretrain.weight_decay) == (400, 0.96, 384, 1e-6)
    assert (params.predict.short_edge, params.adapt.iterations, params.adapt.crop) == (392, 100, 384)


@pytest.mark.parametrize("name", PROFILES)
def test_profile_writes_a_new_file_as_it_is(name: str, capsys: pytest.CaptureFixture) -> None:
    main(["profile", name])
    assert Path("params.yaml").read_text() == profile_text(name)
    assert capsys.readouterr().out == "params.yaml is new\n"
    main(["profile", name])
    assert capsys.readouterr().out == f"params.yaml is the profile {name} already\n"


def test_profile_keeps_the_users_data_and_prints_what_changes(capsys: pytest.CaptureFixture) -> None:
    path = Path("mine.yaml")
    text = profile_text("quickstart")
    path.write_text(text.replace("videos: videos ", "videos: /my videos ").replace("seed: 0", "seed: 7", 1))
    main(["profile", "paper", "--write", "mine.yaml"])
    lines = capsys.readouterr().out.splitlines()
    assert f"pretrain.iterations: {load_profile('quickstart').pretrain.iterations} → 400000" in lines
    assert "corpus.seed: 7 → 0" in lines
    assert not [line for line in lines if line.startswith(("data.", "model.dropout"))]
    written, paper = load_params(path), load_profile("paper")
    assert written.data.videos == "/my videos"
    assert written.model_copy(update={"data": paper.data}) == paper
    assert "backbone: resnet50               # from scratch (4.1)" in path.read_text()  # the comments came along
    assert "take a core from the training on two" not in path.read_text()  # and none of a value that is replaced


@pytest.mark.parametrize("content", ["a: [1", "just text", "- 1\n", "data: 3\n", "\xff"])
def test_profile_leaves_what_is_no_parameter_file(content: str, capsys: pytest.CaptureFixture) -> None:
    Path("params.yaml").write_text(content, encoding="latin-1")
    assert "params.yaml: not" in fails(capsys, "profile", "paper")
    assert Path("params.yaml").read_text(encoding="latin-1") == content
