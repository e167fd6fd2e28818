# SPDX-License-Identifier: GPL-2.0-or-later
"""`[connect.x]`: an initiator: a host of its own NQN, connected to an export, and the namespace it sees."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

from nvlab.errors import Problem
from nvlab.layers.base import Built, Lab, LayerKind, Object
from nvlab.layers.export import Export, host_nqn, where
from nvlab.layers.fields import Doc, Duration, Flag, Ref, Whole
from nvlab.plan import Layer, Step

SECOND = 10**9


@dataclass(frozen=True, kw_only=True)
class Connect:
    """A connected initiator."""

    to: Annotated[str, Ref(("export",)), Doc("the export")]
    nsid: Annotated[int, Whole(1, 1024), Doc("which of its namespaces")] = 1
    queues: Annotated[int | None, Whole(1, 128), Doc("I/O queues (default: one per CPU that is not isolated)")] = None
    write_queues: Annotated[int | None, Whole(1, 128), Doc("queues for writes alone")] = None
    poll_queues: Annotated[int | None, Whole(1, 128), Doc("queues without interrupts")] = None
    queue_size: Annotated[int, Whole(16, 1024), Doc("entries of a queue")] = 128
    keep_alive: Annotated[int, Duration(SECOND, 3600 * SECOND), Doc("how often the host shows that it lives")] = 5 * SECOND
    reconnect_delay: Annotated[int, Duration(SECOND, 3600 * SECOND), Doc("pause between attempts")] = 2 * SECOND
    give_up_after: Annotated[int, Duration(SECOND, 86400 * SECOND), Doc("how long a lost target is tried for")] = 30 * SECOND
    header_digest: Annotated[bool, Flag(), Doc("checksum over headers")] = False
    data_digest: Annotated[bool, Flag(), Doc("checksum over data")] = False


def check(obj: Object, lab: Lab) -> Iterator[Problem]:
    spec: Connect = obj.spec
    export: Export = lab.objects[spec.to].spec
    namespaces = sum(len(lab.blocks(ref)) for ref in export.on)
    if spec.nsid > namespaces:
        has = "1 namespace" if namespaces == 1 else f"{namespaces} namespaces"
        yield Problem(f"{obj.path}.nsid", f"export {spec.to!r} has {has}")
    if not export.allow_any_host and obj.name not in export.hosts:
        yield Problem(f"{obj.path}.to", f'export {spec.to!r} does not let "{obj.name}" in; add it to its hosts')
    if where(export)[0] in ("0.0.0.0", "::"):
        yield Problem(f"{obj.path}.to", f"export {spec.to!r} listens on every address; name the one to connect to")


def build(obj: Object, lab: Lab) -> Built:
    spec: Connect = obj.spec
    export: Export = lab.objects[spec.to].spec
    traddr, trsvcid = where(export)
    args = {
        "traddr": traddr,
        "trsvcid": trsvcid,
        "nqn": f"{{{spec.to}.nqn}}",
        "hostnqn": host_nqn(lab, obj.name),
        "hostid": lab.uuid("host", obj.name),
        "nsid": spec.nsid,
        "options": _options(spec),
    }
    step = Step(f"connect.{obj.name}", "fabrics.connect", args, obj.path, provides=obj.name)
    layer = Layer(obj.path, f"{{{obj.name}.dev}}  {{{obj.name}.size}}")
    return Built([step], layer, {"nvme-fabrics": {}, "nvme-tcp": {}})


def _options(spec: Connect) -> dict[str, object]:
    """The options as ``/dev/nvme-fabrics`` spells them, times in seconds."""
    options: dict[str, object] = {
        "queue_size": spec.queue_size,
        "keep_alive_tmo": spec.keep_alive // SECOND,
        "reconnect_delay": spec.reconnect_delay // SECOND,
        "ctrl_loss_tmo": spec.give_up_after // SECOND,
    }
    counts = {"nr_io_queues": spec.queues, "nr_write_queues": spec.write_queues, "nr_poll_queues": spec.poll_queues}
    options |= {key: value for key, value in counts.items() if value is not None}
    flags = {"hdr_digest": spec.header_digest, "data_digest": spec.data_digest}
    return options | {key: 1 for key, wanted in flags.items() if wanted}


KIND = LayerKind("connect", Connect, check, build, doc="A connected NVMe/TCP initiator.")
