"""feedd's compiled line depends on the C layout of picows' classes, which is not a stable ABI."""

from __future__ import annotations

__all__ = ["check_picows"]


def check_picows(compiled: str, imported: str) -> None:
    """Raise ``ImportError`` unless both are of the same minor version.

    ``compiled`` is empty when the build did not say it; then only Cython's own size check helps.
    """
    if compiled and compiled.split(".")[:2] != imported.split(".")[:2]:
        minor = ".".join(compiled.split(".")[:2])
        raise ImportError(
            f"feedd was compiled against picows {compiled}, but picows {imported} is installed: "
            f"their classes differ in memory. Install the matching one (pip install "
            f"'picows=={minor}.*') or build feedd again in this environment "
            "(pip install --no-binary feedd --force-reinstall feedd)."
        )
