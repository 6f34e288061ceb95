"""What only an NVIDIA GPU can show: `pytest -m gpu`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from training_runs import windows

from reconet_bench.cli import main
from reconet_bench.core.ops import LUMINANCE_CAMERA, to_uint8, warp
from reconet_bench.data.synthetic import synthetic_clip
from reconet_bench.methods.base import METHODS, Batch, LossContext
from reconet_bench.methods.style_loss import StyleLoss
from reconet_bench.metrics.similarity import ssim
from reconet_bench.models.checkpoint import load_checkpoint, shipped_models
from reconet_bench.models.export import checkpoint_model
from reconet_bench.networks.base import NETWORKS
from reconet_bench.runtimes.base import RUNTIMES
from reconet_bench.training.crop_store import StoredCrops, store_crops
from reconet_bench.training.fleet import read_fleet, run_fleet
from reconet_bench.training.loop import train
from reconet_bench.training.run_folder import STATE_FILE

pytestmark = pytest.mark.gpu
GPU = torch.device("cuda")
TRAINABLE = [name for name, method in METHODS.items() if method.trainable]


@pytest.fixture(autouse=True)
def _exact_convolutions():
    """fp32 as on the CPU: by default convolutions round their inputs to TF32."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    yield
    torch.backends.cudnn.allow_tf32 = before


@pytest.fixture
def batch() -> Batch:
    clip = synthetic_clip("rush", (64, 96), 7)
    frames = torch.cat([clip.frame(index) for index in (0, 1, 5)])
    near, far = clip.motion(0, 1), clip.motion(0, 5)
    one = (frames, torch.cat((near.flow, far.flow)), torch.cat((near.mask, far.mask)), torch.tensor(LUMINANCE_CAMERA))
    return Batch(*(torch.stack((part, part)) for part in one))


def test_warping_and_ssim_are_those_of_the_cpu():
    generator = torch.Generator().manual_seed(0)
    image, other = torch.rand(2, 1, 3, 64, 96, generator=generator)
    flow = 6 * torch.randn(1, 2, 64, 96, generator=generator)
    for on_cpu, on_gpu in zip(warp(image, flow), warp(image.to(GPU), flow.to(GPU)), strict=True):
        assert (on_cpu - on_gpu.cpu()).abs().max() < 1e-5
    assert abs(ssim(image, other) - ssim(image.to(GPU), other.to(GPU))) < 1e-5


@pytest.mark.parametrize("kind", sorted(NETWORKS))
@pytest.mark.parametrize("name", TRAINABLE)
def test_losses_and_gradients_are_those_of_the_cpu(name, kind, batch, loss_network):
    method, painting = METHODS[name], torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(8))
    torch.manual_seed(0)
    network = method.network(kind=kind)
    totals, gradients = [], []
    for device in (torch.device("cpu"), GPU):
        perceptual = loss_network.to(device)
        style = StyleLoss.of(perceptual, painting.to(device), 64, 2, balanced=True)
        context = LossContext(perceptual, style, torch.Generator().manual_seed(1))
        network = network.to(device)
        terms = method.objective(method.training_module(network), batch.to(device), context)
        total = torch.stack([term for term in terms.values() if term.requires_grad]).sum()
        total.backward()
        totals.append({term: float(value.detach()) for term, value in terms.items()})
        gradients.append(torch.cat([p.grad.flatten().cpu() for p in network.parameters() if p.grad is not None]))
        network.zero_grad(set_to_none=True)
    loss_network.to("cpu")
    assert totals[1] == pytest.approx(totals[0], rel=2e-3)
    assert torch.nn.functional.cosine_similarity(*gradients, dim=0) > 0.999


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_a_stopped_training_goes_on_and_its_model_runs_on_the_cpu(precision, settings, tmp_path):
    settings = replace(settings, device="cuda", precision=precision, steps=12, network="lite")
    whole = load_checkpoint(train(settings, windows(), tmp_path / "whole")).network.state_dict()

    def stop(progress):
        if progress.step == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(settings, windows(), tmp_path / "run", report=stop)
    assert (tmp_path / "run" / STATE_FILE).is_file()
    resumed = load_checkpoint(train(settings, windows(), tmp_path / "run", resume=True)).network
    assert resumed(torch.rand(1, 3, 33, 47)).shape == (1, 3, 33, 47)
    # The GPU chooses the order of sums, and Adam makes steps of equal length of the smallest gradients.
    for name, value in resumed.state_dict().items():
        assert (value - whole[name]).abs().max() < 12 * settings.learning_rate


@pytest.mark.parametrize("name", [name for name in TRAINABLE if not METHODS[name].random])
def test_a_step_as_a_cuda_graph_is_the_step(name, settings, tmp_path):
    settings = replace(settings, method=name, device="cuda", precision="fp32", steps=12, batch=2, network="lite")
    losses = {}
    for graphs in (True, False):
        found = losses[graphs] = []
        chosen = replace(settings, graphs=graphs)
        train(chosen, windows(), tmp_path / str(graphs), report=lambda p, found=found: found.append(p.terms))
    for on, off in zip(losses[True], losses[False], strict=True):
        assert on == pytest.approx(off, rel=2e-2, abs=1e-6)


def test_a_fleet_shares_one_gpu_and_one_store(settings, stand_in_weights, tmp_path):
    store = store_crops(windows(), tmp_path / "crops", 8, workers=2)
    assert len(StoredCrops(store, 0)[3].frames) == 3
    fleet = tmp_path / "fleet.toml"
    fleet.write_text(
        f'preset = "lite"\nsteps = 30\nsize = 32\nstyle_size = 64\nstyle = "{settings.style}"\n'
        '[models.one]\n[models.two]\nmethod = "johnson"\nnetwork = "small"\n'
    )
    words = ["--device", "cuda", "--vgg", str(stand_in_weights), "--crops", str(store)]
    run_fleet(read_fleet(fleet), {"one": words, "two": words}, tmp_path / "runs")
    assert (tmp_path / "runs/one/reconet-lite-wave.safetensors").is_file()
    assert (tmp_path / "runs/two/johnson-small-wave.safetensors").is_file()


#: Least PSNR in dB of 8-bit frames by runtime.
LEAST = {
    "torch": 55,
    "torch:channels-last": 55,
    "torch:bf16": 35,
    "torch:fp16": 45,
    "torch-compile": 55,
    "torch-compile:bf16": 35,
    "torch-compile:fp16": 45,
}


@pytest.mark.parametrize("runtime", LEAST)
def test_frames_are_those_of_the_cpu(runtime, tmp_path):
    checkpoint = load_checkpoint(shipped_models()["reconet-starry_night"])
    model = checkpoint_model(checkpoint, tmp_path)
    clip = synthetic_clip("stroll", (96, 160), 3)
    with torch.inference_mode():
        expected = [to_uint8(checkpoint.network(clip.frame(index)))[0] for index in range(3)]
    session = RUNTIMES[runtime].open(model, GPU, 1)
    try:
        for index in range(3):
            error = session(to_uint8(clip.frame(index))[0]).astype(float) - expected[index]
            assert 10 * np.log10(255**2 / max(float((error**2).mean()), 1e-3)) > LEAST[runtime]
    finally:
        session.close()


def test_a_comparison_on_the_gpu(tmp_path):
    words = ["compare", "--device", "cuda", "--videos", "stroll", "--frames", "6", "--size", "160x96", "--rounds", "3"]
    words += ["--models", "reconet-starry_night", "--runtimes", "torch", "torch:fp16", "torch-compile:fp16"]
    assert not main([*words, "--no-pictures", "--output", str(tmp_path / "run")])
    records = pd.read_csv(Path(tmp_path / "run" / "records.csv"))
    fps = records[records.metric.str.startswith("fps")]
    assert {"torch", "torch:fp16", "torch-compile:fp16"} <= set(fps.runtime)
    assert fps.device.str.contains("cuda").any()
    assert (fps.value > 0).all()
