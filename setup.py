"""The only packaging file: what is installed, what it needs, and what it may need."""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent


def version() -> str:
    """`__version__` of the package, read and not imported: its dependencies need not be there yet."""
    text = (HERE / "ssa_fast" / "__init__.py").read_text(encoding="utf-8")
    found = re.search(r'^__version__ = "([^"]+)"$', text, flags=re.MULTILINE)
    if found is None:
        raise RuntimeError('ssa_fast/__init__.py holds no line of the form: __version__ = "1.2.3"')
    return found[1]


setup(
    name="ssa-fast",
    version=version(),
    description="Glioma segmentation of BraTS-SSA MRI in seconds a case, on laptops",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license_expression="Apache-2.0",
    license_files=["LICENSE"],
    keywords=["MRI", "glioma", "segmentation", "BraTS", "ONNX"],
    classifiers=[
        "Development Status :: 3 - Alpha",
        "Environment :: Console",
        "Intended Audience :: Healthcare Industry",
        "Intended Audience :: Science/Research",
        "Operating System :: OS Independent",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3 :: Only",
        "Programming Language :: Python :: 3.10",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Scientific/Engineering :: Image Recognition",
        "Topic :: Scientific/Engineering :: Medical Science Apps.",
        "Typing :: Typed",
    ],
    python_requires=">=3.10",
    packages=find_packages(include=["ssa_fast", "ssa_fast.*"]),
    package_data={
        "ssa_fast": [
            *("py.typed", "pretrained/*.onnx", "pretrained/*.json", "pretrained/*.md"),
            *("train/recipes/*.toml", "evaluate/viewer/*"),
        ]
    },
    # build profiles: `read_profile` finds them in the clone, else here in a folder above the package
    data_files=[
        ("share/ssa-fast/export", sorted(path.relative_to(HERE).as_posix() for path in HERE.glob("export/*.toml")))
    ],
    entry_points={"console_scripts": ["ssa-fast = ssa_fast.cli:main"]},
    # enough to read, prepare and write cases; what runs the network is an extra, so nobody installs two engines
    install_requires=[
        "click>=8.1",
        "isal>=1.7",
        "nibabel>=5.3",  # the first that takes numpy 2
        "numpy>=1.26",
        'tomli>=2.0.1; python_version < "3.11"',
    ],
    extras_require={
        "cpu": ["onnxruntime>=1.20"],
        "openvino": ["openvino>=2025.0"],
        # never beside `cpu`: both own one folder; cuda-python tells which GPU it is, and its memory
        "gpu": ["onnxruntime-gpu[cuda,cudnn]>=1.28,<2", "cuda-python>=13,<14"],
        "trt": ["tensorrt-cu13>=10.13.2,<12", "cuda-python>=13,<14"],
        # builds without a GPU, which is how CI checks what is built for one; no wheels for Macs and ARM
        "trt-rtx": ["tensorrt-rtx-cu12>=1.7,<2; platform_machine in 'x86_64 AMD64' and sys_platform != 'darwin'"],
        # torch 2.9: slow, hungry 3D convolutions under AMP; nvidia-ml-py: 0.3 MB that need nothing and tell of the GPU
        "torch": ["torch>=2.10", "safetensors>=0.4.5", "nvidia-ml-py>=12"],
        "export": ["onnx>=1.18", "onnxscript>=0.7"],
        "evaluate": ["connected-components-3d>=3.12", "scipy>=1.11"],  # surfaces and lesions; voxels need neither
        "report": ["matplotlib>=3.9"],
        "watch": ["tensorboard>=2.20"],
        "ray": ["ray>=2.60,<3"],
        # what we are measured against; nnU-Net brings SimpleITK, pandas and scikit-learn, so no other extra has it
        "bench": ["monai>=1.5", "nnunetv2>=2.8,<2.9", "pytest-benchmark>=5.1"],
        "dev": [
            "cuda-python>=13,<14; sys_platform != 'darwin'",  # its errors without a driver are tested; 14 MB to load
            "hypothesis>=6.120",
            "import-linter>=2.12",
            "mypy>=1.18",
            "pre-commit>=4.0",
            "pytest>=8.4",
            "pytest-benchmark>=5.1",
            "ruff>=0.15",
        ],
    },
)
