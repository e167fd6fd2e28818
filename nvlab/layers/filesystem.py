# SPDX-License-Identifier: GPL-2.0-or-later
"""`[filesystem.x]`: ext4 or xfs on a block device, mounted where a workload finds it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

from nvlab.errors import Problem
from nvlab.layers.base import BLOCK, Built, Lab, LayerKind, Object
from nvlab.layers.fields import Choice, Doc, Ref
from nvlab.plan import Layer, Step

MOUNTS = "/run/nvlab/mnt"
MIN_SIZE = {"ext4": 8 << 20, "xfs": 300 << 20}  # bytes; mkfs.xfs refuses less since xfsprogs 5.19


@dataclass(frozen=True, kw_only=True)
class Filesystem:
    """A file system."""

    on: Annotated[str, Ref(BLOCK), Doc("the block device it is made on")]
    type: Annotated[str, Choice(("ext4", "xfs")), Doc("what it is")] = "ext4"


def check(obj: Object, lab: Lab) -> Iterator[Problem]:
    spec: Filesystem = obj.spec
    if len(lab.blocks(spec.on)) > 1:
        yield Problem(f"{obj.path}.on", f"{spec.on!r} is several devices; name one of them: {spec.on}.1")
    size = getattr(lab.objects[spec.on.partition(".")[0]].spec, "size", None)
    if size is not None and size < MIN_SIZE[spec.type]:
        yield Problem(f"{obj.path}.on", f"{spec.type} needs at least {MIN_SIZE[spec.type] >> 20} MiB")


def build(obj: Object, lab: Lab) -> Built:
    spec: Filesystem = obj.spec
    dev = lab.devs([spec.on])[0]
    at = f"{MOUNTS}/{lab.ident(obj.name, limit=200)}"
    make = {"type": spec.type, "dev": dev, "uuid": lab.uuid("filesystem", obj.name)}
    steps = [
        Step(f"filesystem.{obj.name}/mkfs", "filesystem.make", make, obj.path),
        Step(
            f"filesystem.{obj.name}", "mount.filesystem", {"type": spec.type, "dev": dev, "at": at}, obj.path, provides=obj.name
        ),
    ]
    return Built(steps, Layer(obj.path, f"{at}  {spec.type}"), {spec.type: {}})


KIND = LayerKind("filesystem", Filesystem, check, build, watch="", doc="A mounted file system.")
