"""Machines as JSON records. `epyc` was written by `ssa-fast doctor --json`; the others were typed by hand.

What was typed after what such machines were reported to tell, and what was made up to be in a trap or out of all:

gtx1650      a Dell G3 3590: Core i5-9300H, 8 GB, GTX 1650 of 4 GB (github.com/VITA-Group/FasterSeg/issues/56); a driver
             calls the card so (github.com/NVIDIA/nvidia-docker/issues/1674). Made up: its version, all packages.
gtx1650_wsl  `torch.utils.collect_env` of a Ryzen 5 4600H with a GTX 1650 under WSL 2, as a public repository's README
             prints it: Python, processor, most flags, torch, driver. Made up: cuDNN, memory, the other packages.
t4           `collect_env` in Colab: Xeon at 2.20 GHz of model 79, 2 CPUs on one core, Tesla T4
             (github.com/pytorch/pytorch/issues/111210). Made up: driver (there 525.105.17), memory, all packages.
a100         CUDA's deviceQuery of an NVIDIA A100-SXM4-80GB (gist.github.com/gengwg/3520df2ebf8872e5ee4818367e3a4122).
             Made up: processor, driver, memory, all packages.
mac          system, architecture and the form of the processor's name as in `collect_env` of an Apple M2 Max
             (github.com/pytorch/pytorch/issues/164943). Made up: all else.
cpu_laptop, container: made up; no report of such a machine was found.
"""

from __future__ import annotations

from pathlib import Path

from ssa_fast.doctor.machine import Machine, read_machine

FOLDER = Path(__file__).parent / "machines"
NAMES = sorted(path.stem for path in FOLDER.glob("*.json"))


def recorded(name: str) -> Machine:
    return read_machine(FOLDER / f"{name}.json")
