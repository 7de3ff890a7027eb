"""What a pipeline run left behind, and what to try next; the last words of `make run`."""

from pathlib import Path

from amd.config import load_params
from amd.runtime.errors import exit_on_user_error
from amd.runtime.files import read_json


@exit_on_user_error
def main() -> None:
    """Print the places of the report, masks, scores, store and model, with the headline numbers."""
    params = load_params()
    vos = read_json("metrics/vos.json")
    scores, baselines = vos["summary"], {name: row["mean"]["J"]["mean"] for name, row in vos["baselines"].items()}
    registered = read_json("metrics/register.json")
    alias = "champion" if registered["promoted"] else "no alias moved"
    root = Path.cwd()
    print(
        f"""
report      {root / "report/report.html"}
masks       {root / "predictions/adapted/masks"} (adapted), {root / "predictions/image/masks"} (per image)
scores      {root / "metrics/vos.json"}
            label-free J: {scores["image"]["label_free_J"]:.3f} per image, \
{scores["adapted"]["label_free_J"]:.3f} adapted
            without learning: {baselines["flow_outliers"]:.3f} optical flow, {baselines["centre_box"]:.3f} centre box
MLflow      sqlite:///{root / "mlflow.db"}
            see it with: .venv/bin/mlflow server --backend-store-uri sqlite:///mlflow.db --host 127.0.0.1
model       {registered["name"]} version {registered["version"]} ({alias}: {registered["reason"]})

next        .venv/bin/amd segment {example(params.data.benchmark_root)} --model models:/{registered["name"]}@champion \\
                --out segmented --overlay"""
    )


def example(benchmark_root: str) -> str:
    """A video to try: the corpus' own, or a place holder."""
    videos = sorted(Path(benchmark_root, "videos").glob("*.mp4"))
    return str(videos[0]) if videos else "VIDEO"


if __name__ == "__main__":
    main()
