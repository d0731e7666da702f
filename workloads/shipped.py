"""The bundles that ship with the package, and their names."""

from __future__ import annotations

from pathlib import Path

from accelsim.errors import InputError, unknown_name
from workloads.paths import from_folder


def shipped_bundles() -> list[Path]:
    """Return the paths of the bundles in ``workloads/data``, sorted."""
    return sorted((Path(__file__).parent / "data").glob("*.safetensors"))


def bundle_path(folder: Path, bundle: str | Path) -> Path:
    """Return the file that a config or a command line names.

    Parameters
    ----------
    folder : Path
        Where a relative path starts from.
    bundle : str or Path
        A path, or the name of a shipped bundle, such as ``smollm2``. A file comes before a name.

    Raises
    ------
    InputError
        If what looks like a name is neither that of a file nor that of a shipped bundle, or a file
        that is missing has the name of a shipped bundle.
    """
    path = from_folder(folder, bundle)
    name = str(bundle)
    shipped = {found.stem: found for found in shipped_bundles()}
    if not path.exists() and path.suffix == ".safetensors" and path.stem in shipped:
        raise InputError(
            f"{path}: there is no such file; the bundle that comes with accelsim goes by its name: "
            f"{path.stem}"
        )
    if path.is_file() or Path(name).name != name or Path(name).suffix:
        return path
    if name not in shipped:
        raise InputError(f"{unknown_name('shipped bundle', name, shipped)}, and no such file")
    return shipped[name]
