import os
from pathlib import Path

import numpy as np
import pytest
import torch
from make_run import DrawnFrames, make_samples, tiny_config

from selu_hpc.models.chat import Chat
from selu_hpc.models.vlm import load_backbone
from selu_hpc.records import View
from selu_hpc.train import adapter, towers
from selu_hpc.train.data import Dataset, Pictures, frame_key
from selu_hpc.train.features import FeatureCache, cache_folder

KEYS = [bytes([number]) * 16 for number in range(8)]


def features(number, dtype=torch.float32):
    return torch.full((1, 4, 6), float(number), dtype=dtype)


@pytest.fixture
def cache(tmp_path):
    return FeatureCache(tmp_path, "tower", limit_bytes=1 << 20)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_what_is_put_comes_back_to_the_bit(cache, dtype):
    value = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(0)).to(dtype)
    cache.put(KEYS[0], value)
    found = cache.get(KEYS[0])
    assert found.dtype == dtype
    assert torch.equal(found, value)
    assert cache.get(KEYS[1]) is None


def test_another_tower_does_not_see_them(cache, tmp_path):
    cache.put(KEYS[0], features(1))
    assert FeatureCache(tmp_path, "other", 1 << 20).get(KEYS[0]) is None


@pytest.mark.parametrize(
    "damage", [lambda data: data[:-9], lambda data: b"", lambda data: data[:30] + b"x" + data[31:]]
)
def test_a_damaged_file_is_dropped_so_that_it_is_encoded_again(cache, damage):
    cache.put(KEYS[0], features(1))
    file = cache.file(KEYS[0])
    file.write_bytes(damage(file.read_bytes()))
    assert cache.get(KEYS[0]) is None
    assert not file.exists()


def test_the_longest_unused_go_first_when_room_is_needed(tmp_path):
    size = FeatureCache(tmp_path, "tower", 1 << 20)
    for number, key in enumerate(KEYS[:4]):
        size.put(key, features(number))
    one = size.file(KEYS[0]).stat().st_size
    for age, key in enumerate(KEYS[:4]):
        os.utime(size.file(key), (age, age))
    size.touch([KEYS[0]])
    bounded = FeatureCache(tmp_path, "tower", limit_bytes=4 * one)
    assert bounded.make_room(2 * one) == 2 * one
    assert [key in bounded for key in KEYS[:4]] == [True, False, False, True]


def test_more_than_the_limit_is_not_promised(cache):
    assert FeatureCache(cache.root, "tower", 100).make_room(5000) == 100


def test_a_disk_that_refuses_costs_only_the_reuse(tmp_path):
    (tmp_path / "file").write_text("")
    cache = FeatureCache(tmp_path / "file", "tower", 1 << 20)
    cache.put(KEYS[0], features(0))
    assert cache.get(KEYS[0]) is None


def test_another_users_cache_costs_only_the_reuse(cache, monkeypatch):
    cache.put(KEYS[0], features(0))

    def refuse(path, **_):
        raise PermissionError(13, "Permission denied", str(path))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "stat", refuse)
        assert KEYS[0] not in cache
    assert KEYS[0] in cache


def test_a_folder_that_another_user_took_is_not_believed(tmp_path, monkeypatch):
    monkeypatch.delenv("SELU_FEATURE_CACHE")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    mine = tmp_path / f"selu_hpc-{os.getuid()}"
    assert cache_folder() == mine / "features"
    mine.mkdir()
    assert cache_folder() == mine / "features"
    stranger = os.getuid() + 1
    monkeypatch.setattr(os, "getuid", lambda: stranger)
    mine.rename(tmp_path / f"selu_hpc-{stranger}")
    assert cache_folder() == tmp_path / "home" / ".cache" / "selu_hpc" / "features"


def test_a_slurm_tasks_own_tmpdir_which_it_loses_at_its_end_is_not_the_place(tmp_path, monkeypatch):
    monkeypatch.delenv("SELU_FEATURE_CACHE")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "task"))
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setattr(Path, "lstat", lambda place: Path("/proc/self").stat())  # nobody else took the name
    assert cache_folder() == Path(f"/tmp/selu_hpc-{os.getuid()}/features")
    monkeypatch.setenv("SELU_SCRATCH", str(tmp_path / "scratch"))
    assert cache_folder() == tmp_path / "scratch" / f"selu_hpc-{os.getuid()}" / "features"


def model_and_chat(base):
    config = tiny_config(base).model
    backbone, processor = load_backbone(config)
    model = adapter.put_on(backbone, config, seed=1)
    return model.train(), Chat(processor)


@pytest.fixture
def samples():
    return [(f"x:{i}", s) for i, s in enumerate(make_samples("store", View.FIRST_PERSON, 9, 3))]


def answers_logits(model, dataset, rows):
    batch = dataset.batch(rows, stand_in=rows[0])
    with torch.no_grad():
        return model(**batch.inputs, logits_to_keep=batch.answers_bl, use_cache=False).logits


@pytest.mark.parametrize("family", ["llava_next", "qwen2_vl", "qwen2_5_vl", "pocket"])
def test_features_in_the_towers_place_give_what_pixels_give(family, request, samples, tmp_path):
    base = family if family == "pocket" else request.getfixturevalue(family)
    frames = DrawnFrames(64, 64)
    model, chat = model_and_chat(base)
    pixels = Pictures(frames, chat, None, None)
    refs = [ref for _, sample in samples for ref in sample.images]
    pixels.look(refs)
    plain = Dataset(samples, pixels, chat, model.config)
    expected = answers_logits(model, plain, range(9))
    tower = towers.take_out(model, device=torch.device("cpu"))
    cached = Pictures(
        frames, chat, tower, FeatureCache(tmp_path, tower.identity(chat.processor.image_processor), 1 << 30)
    )
    cached.look(refs)
    found = answers_logits(model, Dataset(samples, cached, chat, model.config), range(9))
    torch.testing.assert_close(found, expected, atol=2e-5, rtol=1e-4)
    assert cached.num_encoded == len(set(refs))


@pytest.mark.parametrize("family", ["llava_next", "qwen2_vl", "qwen2_5_vl"])
def test_a_frames_features_do_not_depend_on_its_company(family, request, samples):
    model, chat = model_and_chat(request.getfixturevalue(family))
    tower = towers.take_out(model, device=torch.device("cpu"))
    parts = [chat.image(DrawnFrames(64, 64).read(sample.images[0])) for _, sample in samples]
    together = tower.encode(parts)
    assert all(torch.equal(tower.encode([part])[0], both) for part, both in zip(parts, together, strict=True))


def test_frames_already_encoded_are_not_encoded_again_nor_when_two_refs_show_the_same(llava_next, samples, tmp_path):
    model, chat = model_and_chat(llava_next)
    tower = towers.take_out(model, device=torch.device("cpu"))
    refs = {ref for _, sample in samples for ref in sample.images}
    counts = []
    for _ in range(2):
        pictures = Pictures(
            DrawnFrames(64, 64),
            chat,
            tower,
            FeatureCache(tmp_path, tower.identity(chat.processor.image_processor), 1 << 30),
        )
        pictures.look(refs)
        counts.append(pictures.num_encoded)
    assert counts == [len(refs), 0]


def test_other_settings_of_the_processor_are_other_features(llava_next):
    model, chat = model_and_chat(llava_next)
    tower = towers.take_out(model, device=torch.device("cpu"))
    processor = chat.processor.image_processor
    before = tower.identity(processor)
    assert tower.identity(processor) == before
    processor.image_mean = [0.0, 0.0, 0.0]
    assert tower.identity(processor) != before


def test_a_cache_too_small_for_the_frames_changes_nothing_but_time(llava_next, samples, tmp_path):
    model, chat = model_and_chat(llava_next)
    tower = towers.take_out(model, device=torch.device("cpu"))
    refs = {ref for _, sample in samples for ref in sample.images}
    logits, sizes = [], []
    for name, limit in (("big", 1 << 30), ("small", 9000), ("none", 0)):
        pictures = Pictures(
            DrawnFrames(64, 64),
            chat,
            tower,
            FeatureCache(tmp_path / name, tower.identity(chat.processor.image_processor), limit),
        )
        pictures.look(refs)
        logits.append(answers_logits(model, Dataset(samples, pictures, chat, model.config), range(9)))
        sizes.append(sum(file.stat().st_size for file in (tmp_path / name).rglob("*.bin")))
    assert torch.equal(logits[0], logits[1])
    assert torch.equal(logits[0], logits[2])
    assert sizes[0] > 9000 >= sizes[1] > 0
    assert sizes[2] == 0


def test_what_was_not_kept_is_encoded_a_batch_at_a_time_where_the_tower_works(
    llava_next, samples, tmp_path, monkeypatch
):
    model, chat = model_and_chat(llava_next)
    tower = towers.take_out(model, device=torch.device("cpu"))
    pictures = Pictures(
        DrawnFrames(64, 64), chat, tower, FeatureCache(tmp_path, tower.identity(chat.processor.image_processor), 0)
    )
    pictures.look(list({ref for _, sample in samples for ref in sample.images}))
    dataset = Dataset(samples, pictures, chat, model.config)
    moved, calls, encode = [], [], tower._encode
    monkeypatch.setattr(tower.module, "to", moved.append)
    monkeypatch.setattr(towers.Tower, "_encode", lambda self, parts: calls.append(len(parts)) or encode(parts))
    tower.rest()
    dataset.batch(range(9), stand_in=0)
    assert calls == [towers.IMAGES_PER_CALL]
    assert moved == ["cpu", tower.device]


def test_features_in_use_do_not_make_room_for_new_ones(llava_next, samples, tmp_path):
    model, chat = model_and_chat(llava_next)
    tower = towers.take_out(model, device=torch.device("cpu"))
    first, *others = dict.fromkeys(ref for _, sample in samples for ref in sample.images)

    def look(refs, limit):
        cache = FeatureCache(tmp_path, tower.identity(chat.processor.image_processor), limit)
        pictures = Pictures(DrawnFrames(64, 64), chat, tower, cache)
        pictures.look(refs)
        return [cache.file(key) for key, _ in map(pictures._seen.get, refs)]

    (known,) = look([first], 1 << 30)
    os.utime(known, (1, 1))
    size = known.stat().st_size
    unused = known.with_name("unused.bin")
    unused.write_bytes(bytes(size))
    os.utime(unused, (2, 2))
    assert all(file.exists() for file in look([first, others[0]], 2 * size))
    assert not unused.exists()


def test_features_that_cannot_all_be_kept_are_told_of_before_training(llava_next, samples, tmp_path, caplog):
    model, chat = model_and_chat(llava_next)
    tower = towers.take_out(model, device=torch.device("cpu"))
    refs = list({ref for _, sample in samples for ref in sample.images})
    for limit in (1 << 30, 9000):
        folder = tmp_path / str(limit)
        Pictures(
            DrawnFrames(64, 64),
            chat,
            tower,
            FeatureCache(folder, tower.identity(chat.processor.image_processor), limit),
        ).look(refs)
    (warning,) = (record.getMessage() for record in caplog.records)
    assert str(tmp_path / "9000") in warning
    assert "SELU_FEATURE_CACHE_GB" in warning


def test_a_tower_that_lora_trains_stays_in_the_model(llava_next):
    config = tiny_config(llava_next, **{"model.lora_targets": r".*vision_tower.*q_proj"}).model
    model = adapter.put_on(load_backbone(config)[0], config, seed=1)
    assert towers.take_out(model, device=torch.device("cpu")) is None


def test_a_tower_of_a_family_we_do_not_know_stays_in_the_model(qwen3_vl):
    model, _ = model_and_chat(qwen3_vl)
    assert towers.take_out(model, device=torch.device("cpu")) is None


@pytest.mark.parametrize(("server", "projector"), [("", True), ("http://node:8000", False)])
def test_the_projector_is_trained_only_where_what_generates_can_use_it(llava_next, server, projector):
    config = tiny_config(llava_next, **{"model.server_url": server}).model
    trained = adapter.trainable(adapter.put_on(load_backbone(config)[0], config, seed=1))
    assert any("multi_modal_projector" in name for name in trained) is projector
    assert any("language_model" in name for name in trained)


def test_equal_pixels_have_equal_keys_and_another_shape_another():
    frame = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    assert frame_key(frame) == frame_key(np.asfortranarray(frame))
    assert frame_key(frame) != frame_key(frame.reshape(4, 2, 3))
