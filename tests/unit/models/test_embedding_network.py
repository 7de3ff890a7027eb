"""The instance embedding network: its loss by hand, its parts, its file, and what it can start from."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from checkpoints import save_amd
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from amd.models.amd import AMD
from amd.models.checkpoint import save_checkpoint
from amd.models.embedding import EmbeddingArchitecture, EmbeddingInfo, EmbeddingNetwork, embed, objectness
from amd.models.loading import open_as, open_model, start_backbone
from amd.runtime.errors import UserError
from amd.training.embedding import at_points, values_at
from amd.training.pair_loss import pair_accuracy, pair_loss, pair_weights, similarity, squared_distances

SMALL = EmbeddingArchitecture("small", 4, 0.0, ("cat", "dog"))


def network(seed: int = 0, architecture: EmbeddingArchitecture = SMALL) -> EmbeddingNetwork:
    torch.manual_seed(seed)
    made = EmbeddingNetwork(architecture)
    for tensor in made.buffers():  # statistics that a copy must not lose
        if tensor.is_floating_point() and tensor.ndim == 1:
            tensor.uniform_(0.5, 1.5)
    return made.eval()


# Equations 1 and 2


def test_similarity_is_one_for_equal_embeddings_and_half_at_a_known_distance():
    squared = torch.tensor([0.0, math.log(3), 4.0, 1e6])
    by_hand = [1.0, 0.5, 2 / (1 + math.exp(4)), 0.0]
    torch.testing.assert_close(similarity(squared), torch.tensor(by_hand))


def test_squared_distances_are_those_of_all_pairs():
    points = torch.randn(2, 5, 3, generator=torch.Generator().manual_seed(0))
    found = squared_distances(points)
    for image in range(2):
        for p in range(5):
            for q in range(5):
                expected = ((points[image, p] - points[image, q]) ** 2).sum()
                torch.testing.assert_close(found[image, p, q], expected, atol=1e-5, rtol=1e-5)


def test_the_loss_is_equation_2_written_out_in_double_precision():
    """Three instances of 1, 2 and 3 sampled pixels, one pixel of none: a sum over pairs in plain Python."""
    generator = torch.Generator().manual_seed(1)
    embeddings = torch.randn(1, 7, 4, generator=generator) * 0.8
    owners = torch.tensor([[0, 0, 0, 1, 2, 2, -1]])
    classes = torch.tensor([[0, 0, 0, 5, 5, 5, 255]])
    same, weights = pair_weights(owners, classes, torch.tensor([True]))
    loss = pair_loss(squared_distances(embeddings), same, weights)

    points, names = embeddings[0].double().numpy(), owners[0].tolist()
    total = weight_sum = 0.0
    for p in range(6):
        for q in range(6):
            squared = ((points[p] - points[q]) ** 2).sum() + 1e-4
            alike = 2 / (1 + math.exp(squared))
            weight = 1 / (names.count(names[p]) * names.count(names[q]))
            total -= weight * math.log(alike if names[p] == names[q] else 1 - alike)
            weight_sum += weight
    assert math.isclose(loss.item(), total / weight_sum, rel_tol=1e-4)
    assert math.isclose(weights.sum().item(), 1, rel_tol=1e-6)


def test_without_instance_masks_pairs_of_one_class_count_only_where_they_are_known():
    """Regions 1 and 2 have one class: they may be one object. Background and the other class are apart for sure."""
    owners, classes = torch.tensor([[0, 1, 1, 2, 3]]), torch.tensor([[0, 4, 4, 4, 9]])
    _, sure = pair_weights(owners, classes, torch.tensor([True]))
    same, weights = pair_weights(owners, classes, torch.tensor([False]))
    assert (sure[0] > 0).all()
    unknown = torch.zeros(5, 5, dtype=torch.bool)
    unknown[1:3, 3] = unknown[3, 1:3] = True
    torch.testing.assert_close(weights[0] == 0, unknown)
    assert same[0, 1, 2]


def test_equal_embeddings_of_two_objects_and_nothing_to_compare_have_finite_gradients():
    embeddings = torch.zeros(1, 4, 8, requires_grad=True)
    for owners in (torch.tensor([[0, 0, 1, 1]]), torch.full((1, 4), -1)):
        same, weights = pair_weights(owners, owners, torch.tensor([True]))
        loss = pair_loss(squared_distances(embeddings), same, weights)
        (gradient,) = torch.autograd.grad(loss, embeddings)
        assert torch.isfinite(loss)
        assert torch.isfinite(gradient).all()
    assert loss == 0


def test_accuracy_counts_both_kinds_of_pair_alike():
    """Two instances far apart, one of them torn: all pairs of two are right, three quarters of the pairs of one."""
    embeddings = torch.tensor([[[0.0], [0.0], [0.0], [5.0], [9.0], [9.0], [9.0], [9.0]]])
    owners = torch.tensor([[0, 0, 0, 0, 1, 1, 1, 1]])
    same, weights = pair_weights(owners, owners, torch.tensor([True]))
    # of 12 ordered pairs within the first instance 6 are right, of the second all: (6 + 12) / 24
    assert math.isclose(pair_accuracy(squared_distances(embeddings), same, weights).item(), (18 / 24 + 1) / 2)


# The network


def test_sampling_at_points_is_resizing_and_looking():
    values = torch.randn(2, 3, 6, 9, generator=torch.Generator().manual_seed(0))
    points = torch.tensor([[[0, 0], [23, 35], [11, 20]], [[3, 34], [22, 1], [7, 7]]])
    resized = torch.nn.functional.interpolate(values, (24, 36), mode="bilinear", align_corners=False)
    found = at_points(values, points, (24, 36))
    for image in range(2):
        for number, (row, column) in enumerate(points[image].tolist()):
            torch.testing.assert_close(found[image, number], resized[image, :, row, column])
    labels = torch.arange(2 * 24 * 36).view(2, 24, 36)
    assert values_at(labels, points)[1, 1] == 24 * 36 + 22 * 36 + 1


@pytest.mark.parametrize(("backbone", "stride"), [("small", 4), ("resnet18", 8)])
def test_it_gives_64_channels_and_classes_at_the_stride_of_any_size(backbone, stride):
    made = network(0, EmbeddingArchitecture(backbone, stride, 0.1, ("cat", "dog")))
    with torch.no_grad():
        embedding, logits = made(torch.rand(2, 3, 65, 97))
    rows, columns = -(-65 // stride), -(-97 // stride)
    assert embedding.shape == (2, 64, rows, columns)
    assert logits.shape == (2, 3, rows, columns)


def test_objectness_is_what_background_leaves():
    logits = torch.log(torch.tensor([0.2, 0.5, 0.3])).view(1, 3, 1, 1)
    torch.testing.assert_close(objectness(logits), torch.tensor([[[0.8]]]))


def test_images_are_embedded_one_by_one_at_the_wanted_size():
    made = network()
    images = [np.random.default_rng(0).integers(0, 256, size, np.uint8) for size in ((50, 80, 3), (90, 60, 3))]
    results = list(embed(made, iter(images), 40))
    assert [embedding.shape for embedding, _ in results] == [(10, 16, 64), (15, 10, 64)]
    assert [objects.shape for _, objects in results] == [(10, 16), (15, 10)]
    own_size, _ = next(embed(made, images, None))
    assert own_size.shape == (13, 20, 64)
    with torch.no_grad():
        direct, _ = made(torch.from_numpy(images[0]).permute(2, 0, 1)[None] / 255)
    np.testing.assert_allclose(own_size, direct[0].permute(1, 2, 0).numpy(), atol=1e-6)


# Its file


@pytest.fixture
def saved(tmp_path) -> Path:
    made = network()
    save_checkpoint(tmp_path / "embedding.safetensors", made, EmbeddingInfo(SMALL, 144, {"sets": {"x": 1}}))
    return tmp_path / "embedding.safetensors"


def test_a_checkpoint_comes_back_as_it_was(saved):
    made, (found, info) = network(), open_model(str(saved))
    assert info == EmbeddingInfo(SMALL, 144, {"sets": {"x": 1}})
    assert not found.training
    for name, tensor in made.state_dict().items():
        torch.testing.assert_close(found.state_dict()[name], tensor, rtol=0, atol=0)


def test_each_kind_of_model_is_told_from_the_other(saved, tmp_path):
    save_amd(tmp_path / "amd.safetensors")
    with pytest.raises(UserError, match=r"checkpoint of the instance embedding \(`--method transfer`\); give a check"):
        open_as(AMD, saved)
    with pytest.raises(UserError, match=r"a checkpoint of AMD \(`--method amd`\); give a checkpoint of the instance"):
        open_as(EmbeddingNetwork, tmp_path / "amd.safetensors")
    with pytest.raises(UserError, match=r"is taken for a checkpoint of AMD .*; give a checkpoint of the instance"):
        open_as(EmbeddingNetwork, tmp_path / "model.pth")
    assert isinstance(open_model(saved)[0], EmbeddingNetwork)
    assert isinstance(open_model(tmp_path / "amd.safetensors")[0], AMD)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"architecture": {"backbone": "huge", "output_stride": 4, "dropout": 0.0, "classes": ["a"]}}, "metadata"),
        ({"architecture": {"backbone": "small"}}, "metadata"),
        ({"architecture": None}, "metadata"),
        ({"surprise": 1}, "metadata"),
        ({"architecture": {"backbone": "small", "output_stride": 4, "dropout": 0.0, "classes": ["a"]}}, "has shape"),
    ],
)
def test_damaged_files_are_named(saved, change, message):
    with safe_open(saved, framework="pt") as file:
        metadata = file.metadata()
    info = json.dumps(json.loads(metadata["info"]) | change)
    save_file(load_file(saved), saved, metadata | {"info": info})
    with pytest.raises(UserError) as error:
        open_model(saved)
    assert str(saved) in str(error.value)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


# What it starts from


def test_it_starts_from_the_appearance_pathway_of_an_amd(tmp_path):
    save_amd(tmp_path / "amd.safetensors", seed=5)
    made = network(1)
    heads = {name: tensor.clone() for name, tensor in made.state_dict().items() if not name.startswith("backbone")}
    start_backbone(made, tmp_path / "amd.safetensors", "embedding.backbone")
    for name, tensor in open_model(tmp_path / "amd.safetensors")[0].appearance.backbone.state_dict().items():
        torch.testing.assert_close(made.state_dict()[f"backbone.{name}"], tensor, rtol=0, atol=0)
    for name, tensor in heads.items():
        torch.testing.assert_close(made.state_dict()[name], tensor, rtol=0, atol=0)
