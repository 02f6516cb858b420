import json
import shutil

import pytest
import torch
from make_run import DrawnFrames, make_samples, tiny_config
from torch.nn.functional import cross_entropy

from selu_hpc.models.chat import Chat
from selu_hpc.models.vlm import load_backbone
from selu_hpc.records import View
from selu_hpc.train import adapter, shortcuts
from selu_hpc.train.data import Dataset, Pictures


@pytest.fixture
def mistral(llava_next, tmp_path):
    """`mistral(window)`: LLaVA's language model as Mistral's, which differs from Llama's by that alone."""

    def make(window):
        base = shutil.copytree(llava_next, tmp_path / "mistral")
        config = json.loads((base / "config.json").read_text())
        config["text_config"] |= {"model_type": "mistral", "sliding_window": window}
        (base / "config.json").write_text(json.dumps(config))
        return base

    return make


def outcome(base, *, merge=False, last=False):
    """Logits and gradients of one batch, with LoRA matrices that are not zero."""
    config = tiny_config(base).model
    backbone, processor = load_backbone(config)
    model = adapter.put_on(backbone, config, seed=1).train()
    torch.manual_seed(3)
    for param in adapter.trainable(model).values():
        torch.nn.init.normal_(param, std=0.1)
    chat = Chat(processor)
    samples = [(f"x:{i}", s) for i, s in enumerate(make_samples("store", View.FIRST_PERSON, 5, 3))]
    pictures = Pictures(DrawnFrames(64, 64), chat, None, None)
    pictures.look([ref for _, sample in samples for ref in sample.images])
    batch = Dataset(samples, pictures, chat, model.config).batch(range(5), stand_in=0)
    merged = shortcuts.merge_lora(model) if merge else 0
    layer = shortcuts.LastLayer.of(model) if last else None
    assert bool(merged) == merge
    assert (layer is not None) == last
    if layer:
        layer.keep(batch.answers_bl)
    logits = model(**batch.inputs, logits_to_keep=batch.answers_bl, use_cache=False).logits
    cross_entropy(logits, batch.targets_a).backward()
    return logits.detach(), {name: p.grad for name, p in adapter.trainable(model).items()}


@pytest.mark.parametrize("family", ["llava_next", "qwen2_vl", "qwen2_5_vl", "mistral", "pocket"])
@pytest.mark.parametrize("taken", [{"merge": True}, {"last": True}, {"merge": True, "last": True}])
def test_a_shortcut_changes_logits_and_gradients_by_rounding_only(family, taken, request):
    base = family if family == "pocket" else request.getfixturevalue(family)
    base = base(None) if family == "mistral" else base
    plain_logits, plain = outcome(base)
    logits, grads = outcome(base, **taken)
    torch.testing.assert_close(logits, plain_logits, atol=1e-4, rtol=1e-4)
    largest = max(float(grad.abs().max()) for grad in plain.values())
    assert grads.keys() == plain.keys()
    for name, grad in plain.items():
        torch.testing.assert_close(grads[name], grad, atol=1e-4 * largest, rtol=1e-3)


def test_no_copy_of_a_weight_waits_for_the_way_back():
    """All layers' would be the adapted weights once more."""
    x, weight, a, b = torch.randn(2, 3, 8), torch.randn(6, 8), torch.randn(4, 8), torch.randn(6, 4)
    given = [tensor.requires_grad_() for tensor in (x, a, b)]
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: kept.append(tensor.data_ptr()) or tensor, lambda t: t):
        shortcuts.MergedLinear.apply(x, weight, None, a, b, 2.0).sum().backward()
    assert kept
    assert set(kept) <= {tensor.data_ptr() for tensor in (weight, *given)}


def test_kept_positions_are_found_row_by_row():
    keep = torch.tensor([[0, 1, 1, 0], [0, 0, 0, 1]], dtype=torch.bool)
    at, real = shortcuts._positions(keep)
    assert at[real].tolist() == [1, 2, 3]
    assert real.tolist() == [[True, True], [True, False]]


@pytest.mark.parametrize(("window", "taken"), [(16, False), (None, True)])
def test_a_layer_that_sees_a_sliding_window_only_is_left_alone(mistral, window, taken):
    model, _ = load_backbone(tiny_config(mistral(window)).model)
    layer = model.model.language_model.layers[-1]
    assert type(layer).__name__ == "MistralDecoderLayer"
    assert (shortcuts.LastLayer.of(model) is not None) == taken


def test_a_layer_we_do_not_know_is_left_alone(llava_next):
    model, _ = load_backbone(tiny_config(llava_next).model)
    model.model.language_model.layers[-1].__class__ = type("Other", (type(model.model.language_model.layers[-1]),), {})
    assert shortcuts.LastLayer.of(model) is None
