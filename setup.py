# SPDX-License-Identifier: GPL-2.0-or-later
"""What pyproject.toml cannot say: the C extension, and the directories that a wheel carries inside the package."""

from pathlib import Path
from shutil import copytree, ignore_patterns

from setuptools import setup
from setuptools.command.build_py import build_py

KERNEL_BUILD_LEFTOVERS = ignore_patterns("*.o", "*.ko", "*.mod", "*.mod.c", ".*", "modules.order", "Module.symvers")


class BuildWithData(build_py):
    """An editable install needs no copy: nvlab.data finds the checkout's own."""

    def run(self) -> None:
        super().run()
        if self.editable_mode:
            return
        for source in filter(Path.is_dir, map(Path, ("kmod", "grub", "scenarios"))):
            target = Path(self.build_lib, "nvlab/_data", source)
            copytree(source, target, ignore=KERNEL_BUILD_LEFTOVERS, dirs_exist_ok=True)


setup(cmdclass={"build_py": BuildWithData}, cffi_modules=["nvlab/sim/_build.py:ffi"])
