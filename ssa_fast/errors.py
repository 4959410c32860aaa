"""Every exception that ssa-fast raises on purpose.

    SsaFastError
    ├── ConfigError          a setting is unknown, of the wrong type or out of range   (ValueError)
    ├── CaseError            a case or one of its files cannot be used                 (ValueError)
    ├── ShapeError           an array has a shape that the callee cannot take          (ValueError)
    ├── CheckpointError      a checkpoint is damaged or belongs to another network     (ValueError)
    ├── BundleError          a bundle is damaged, foreign or not proven equal          (ValueError)
    │   └── ArithmeticUnavailable   it computes in what a backend does not have        (ValueError)
    ├── ParityError          two runs of one network differ by more than is allowed    (ValueError)
    ├── BackendUnavailable   a backend's library is missing or unfit for this machine  (ImportError)
    ├── EngineError          an engine cannot be built, or was built for something else (RuntimeError)
    ├── BackendError         an engine failed while it ran                             (RuntimeError)
    ├── BudgetError          a case does not fit the memory that was granted           (MemoryError)
    ├── NumericsError        a network or its training gave NaN or infinity            (ArithmeticError)
    └── CohortError          some cases of many failed; the others are done            (RuntimeError)

A message is one line: what was seen, where, what was wanted, what to do.
"""

__all__ = [
    "ArithmeticUnavailable",
    "BackendError",
    "BackendUnavailable",
    "BudgetError",
    "BundleError",
    "CaseError",
    "CheckpointError",
    "CohortError",
    "ConfigError",
    "EngineError",
    "NumericsError",
    "ParityError",
    "ShapeError",
    "SsaFastError",
]


class SsaFastError(Exception):
    """Base of all errors that a caller of ssa-fast can expect."""


class ConfigError(SsaFastError, ValueError):
    """A setting is unknown, of the wrong type or out of range."""


class CaseError(SsaFastError, ValueError):
    """A case or one of its files cannot be used as it is."""


class ShapeError(SsaFastError, ValueError):
    """An array has a shape that the callee cannot take."""


class CheckpointError(SsaFastError, ValueError):
    """A checkpoint is damaged or belongs to another network."""


class BundleError(SsaFastError, ValueError):
    """A bundle is damaged, foreign or not proven equal to its checkpoint."""


class ArithmeticUnavailable(BundleError):
    """A bundle is sound, but computes in an arithmetic that a backend does not have."""


class ParityError(SsaFastError, ValueError):
    """Two runs of one network differ by more than is allowed."""


class BackendUnavailable(SsaFastError, ImportError):
    """A backend's library is missing or cannot serve this machine."""


class EngineError(SsaFastError, RuntimeError):
    """An engine cannot be built, is damaged, or belongs to another machine, bundle or version."""


class BackendError(SsaFastError, RuntimeError):
    """An engine failed while it ran."""


class BudgetError(SsaFastError, MemoryError):
    """A case does not fit the memory that was granted."""


class NumericsError(SsaFastError, ArithmeticError):
    """A network or its training gave NaN or infinity."""


class CohortError(SsaFastError, RuntimeError):
    """Some cases of many failed; what could be done is done."""
