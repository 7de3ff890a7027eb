"""What a pipeline run left behind, and what to try next; the last words of `make run`."""

from pathlib import Path

from amd.config import load_params
from amd.runtime.errors import exit_on_user_error
from amd.runtime.files import read_json, sha256
from amd.runtime.store import database_of, is_registered, store_uri, without_password

CHECKPOINT = Path("models/amd.safetensors")


@exit_on_user_error
def main() -> None:
    """Print the places of the report, masks, scores, store and model, with the headline numbers."""
    params = load_params()
    vos = read_json("metrics/vos.json")
    scores, baselines = vos["summary"], {name: row["mean"]["J"]["mean"] for name, row in vos["baselines"].items()}
    root = Path.cwd()
    store, model, address = registered_model(read_json("metrics/register.json"))
    print(
        f"""
report      {root / "report/report.html"}
masks       {root / "predictions/adapted/masks"} (adapted), {root / "predictions/image/masks"} (per image)
scores      {root / "metrics/vos.json"}
            label-free J: {scores["image"]["label_free_J"]:.3f} per image, \
{scores["adapted"]["label_free_J"]:.3f} adapted, on {len(vos["scores"]["image"]["label-free"]["sequences"])} \
sequences of {params.data.benchmark}
            without learning: {baselines["flow_outliers"]:.3f} optical flow, {baselines["centre_box"]:.3f} centre box
MLflow      {store}
model       {model}

real clip   {root / "predictions/example"} (what moves, without a model)

next        .venv/bin/amd segment examples/blackswan.mp4 --overlay
            .venv/bin/amd segment {example(params.data.benchmark_root)} --model {address} --overlay"""
    )


def registered_model(outcome: dict) -> tuple[str, str, str]:
    """What to say of the store and of the model, and the address that opens the model here.

    After `git clone` and `dvc pull` the results are here, but the registry is where they were made.
    """
    name, version = outcome["name"], outcome["version"]
    uri, database = without_password(store_uri(), store_uri()), database_of(store_uri())
    if database is not None and not is_registered(database, name, version, sha256(CHECKPOINT)):
        made = f"{CHECKPOINT}, made elsewhere and registered there as {name} version {version}; not in a registry here"
        return f"{uri} does not know these results: they were made elsewhere", made, str(CHECKPOINT)
    alias = "champion" if outcome["promoted"] else "no alias moved"
    see = f"{uri}\n            see it with: .venv/bin/mlflow server --backend-store-uri {uri} --host 127.0.0.1"
    words = f"{name} version {version} ({alias}: {outcome['reason']})"
    return see if database else uri, words, f"models:/{name}@champion"


def example(benchmark_root: str) -> str:
    """A video to try: the corpus' own, or a place holder."""
    videos = sorted(Path(benchmark_root, "videos").glob("*.mp4"))
    return str(videos[0]) if videos else "VIDEO"


if __name__ == "__main__":
    main()
