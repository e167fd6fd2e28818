# SPDX-License-Identifier: GPL-2.0-or-later
"""Kernel modules: loaded once for all labs on the node, with their dependencies, and unloaded with the last user.

What was loaded before nvlab came stays. ``modprobe --show-depends`` names every module that will come along, so that each is
journalled before it is loaded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath

from nvlab.errors import EnvironmentNotReady
from nvlab.kernel.interface import Kernel
from nvlab.kernel.ops import Op, Run, Unload
from nvlab.kernel.verb import Args, Made, SharedVerb


def canonical(name: str) -> str:
    """The name as the kernel lists it: nvme-tcp is nvme_tcp."""
    return name.replace("-", "_")


def is_loaded(kernel: Kernel, name: str) -> bool:
    """Whether a loadable module of this name is there now (a built-in one has no ``initstate``)."""
    return kernel.exists(f"/sys/module/{canonical(name)}/initstate")


def loaded(kernel: Kernel) -> list[str]:
    """Names of the loadable modules that are there now, newest first."""
    return [line.partition(" ")[0] for line in kernel.read("/proc/modules").splitlines()]


def parameter_words(params: Mapping[str, object]) -> tuple[str, ...]:
    """``name=value`` words for modprobe and insmod."""
    return tuple(f"{key}={value}" for key, value in params.items())


def _names_in(depends: str) -> list[str]:
    """Module names from modprobe's "insmod /path/name.ko …" lines, in load order; built-in ones are left out."""
    paths = [line.split()[1] for line in depends.splitlines() if line.startswith("insmod ")]
    return [canonical(PurePosixPath(p).name.partition(".ko")[0]) for p in paths]


def _is_algorithm(kernel: Kernel, name: str) -> bool:
    """Whether a module comes from the kernel's crypto or library directories: only those are asked for by alias as
    another starts. Anything else that turned up meanwhile (udev's drivers, a user's modprobe) is not ours.
    """
    lines = kernel.query(("modprobe", "--show-depends", name)).out.splitlines()
    own = next((line.split()[1] for line in reversed(lines) if line.startswith("insmod ")), "")
    return any(part in ("crypto", "lib") for part in own.split("/")[4:])


class Load(SharedVerb):
    """``modules``: {name: {parameter: value}}, in order.

    Chosen on the node: ``chain``, every module they need, and ``before``, what was loaded when nvlab came.
    """

    name = "module.load"

    def choose(self, kernel: Kernel, args: Args) -> Args:
        answer = kernel.query(("modprobe", "--all", "--show-depends", *args["modules"]))
        if answer.code:
            raise EnvironmentNotReady(
                f"the running kernel lacks a module: {answer.err.strip()}",
                hint="choose a kernel that has it (--kernel), or leave the layer out",
            )
        chain = list(dict.fromkeys(_names_in(answer.out)))
        return {**args, "chain": chain, "before": loaded(kernel)}

    def make(self, args: Args) -> Sequence[Op]:
        modules: Mapping[str, Mapping[str, object]] = args["modules"]
        plain = tuple(name for name, params in modules.items() if not params)
        tuned = [Run(("modprobe", name, *parameter_words(params))) for name, params in modules.items() if params]
        return ([Run(("modprobe", "--all", *plain))] if plain else []) + tuned

    def find(self, kernel: Kernel, args: Args) -> Made | None:
        # a soft dependency may refuse this CPU, and a built-in module is in no chain
        wanted = {canonical(name) for name in args["modules"]} & set(args["chain"])
        return {} if all(is_loaded(kernel, name) for name in wanted) else None

    def keys(self, args: Args) -> list[str]:
        return [f"module:{name}" for name in args["chain"]]

    def companions(self, kernel: Kernel, args: Args) -> list[str]:
        # a module's init may ask for others by alias (crc64_rocksoft_generic, say), which no dependency names
        known = {*args["before"], *args["chain"]}
        new = [name for name in reversed(loaded(kernel)) if name not in known]
        return [f"module:{name}" for name in new if _is_algorithm(kernel, name)]

    def has(self, kernel: Kernel, args: Args, key: str) -> bool:
        return is_loaded(kernel, key.partition(":")[2])

    def release(self, args: Args, keys: Sequence[str]) -> Sequence[Op]:
        return [Unload(tuple(key.partition(":")[2] for key in keys), leave_used=True)] if keys else []


class Insert(SharedVerb):
    """``path``: a module file that serves many labs at once (nvlab.ko without parameters)."""

    name = "module.insert"

    def stands(self, args: Args) -> str:
        return f"[ -d /sys/module/{_stem(args['path'])} ]"

    def make(self, args: Args) -> Sequence[Op]:
        return [Run(("insmod", args["path"]))]

    def find(self, kernel: Kernel, args: Args) -> Made | None:
        return {} if is_loaded(kernel, _stem(args["path"])) else None

    def keys(self, args: Args) -> list[str]:
        return [f"module:{_stem(args['path'])}"]

    def has(self, kernel: Kernel, args: Args, key: str) -> bool:
        return is_loaded(kernel, key.partition(":")[2])

    def release(self, args: Args, keys: Sequence[str]) -> Sequence[Op]:
        return [Unload(tuple(key.partition(":")[2] for key in keys), leave_used=True)] if keys else []


def _stem(path: str) -> str:
    return canonical(PurePosixPath(path).name.partition(".ko")[0])


VERBS = (Load(), Insert())
