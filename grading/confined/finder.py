"""What a student's code can import: modules that are known before the process is locked."""

import pkgutil
import sys
from collections.abc import Iterator, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from importlib.metadata import Distribution, DistributionFinder, PathDistribution
from importlib.util import spec_from_file_location
from pathlib import Path

from grading.confined.software import Software, normalized, standard_library


class Finder(MetaPathFinder):
    """Finds Python's own modules and those of the packages that a student may use.

    A locked process cannot list the folders that hold them, as these hold other packages too.
    """

    def __init__(self, software: Software) -> None:
        self._metadata = [Path(each) for each in software.metadata]
        folders = _standard_folders()
        own = [module.name for module in pkgutil.iter_modules(folders)]
        self._places: dict[str, str | list[str]] = {}
        for name, where in (
            *((name, software.folders) for name in software.names),
            *((name, folders) for name in own),
        ):
            if (spec := PathFinder.find_spec(name, where)) is not None:
                self._places[name] = spec.origin or list(spec.submodule_search_locations or ())

    def install(self) -> None:
        """Make this process import through it, and from no folder of packages."""
        places = set(_standard_folders())
        sys.path[:] = [each for each in sys.path if each in places]
        sys.path_importer_cache.clear()
        sys.meta_path.insert(0, self)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, _target: object = None
    ) -> ModuleSpec | None:
        """Return the spec of a module that belongs to no package."""
        place = self._places.get(fullname) if path is None else None
        if isinstance(place, str):
            return spec_from_file_location(fullname, place)
        if place is None:
            return None
        spec = ModuleSpec(fullname, None, is_package=True)
        spec.submodule_search_locations = place
        return spec

    def find_distributions(
        self, context: DistributionFinder.Context | None = None
    ) -> Iterator[Distribution]:
        """Yield the distributions that may be used, for importlib.metadata."""
        wanted = None if context is None or context.name is None else normalized(context.name)
        for folder in self._metadata:
            made = PathDistribution(folder)
            if wanted is None or normalized(made.metadata["Name"]) == wanted:
                yield made


def _standard_folders() -> list[str]:
    library = standard_library()
    return [str(path) for path in (*library, *(each / "lib-dynload" for each in library))]
