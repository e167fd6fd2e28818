# SPDX-License-Identifier: GPL-2.0-or-later
"""The NVMe-oF initiator: /dev/nvme-fabrics takes one request and answers with the controller it made."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from nvlab.kernel.fake.nvme import Controller
from nvlab.kernel.fake.tree import Device, PlainDir, refuse

if TYPE_CHECKING:
    from nvlab.kernel.fake.nvmet import Subsystem
    from nvlab.kernel.fake.world import World

_KNOWN = {
    *("transport", "traddr", "trsvcid", "nqn", "hostnqn", "hostid", "host_traddr", "host_iface", "queue_size"),
    *("nr_io_queues", "nr_write_queues", "nr_poll_queues", "reconnect_delay", "ctrl_loss_tmo", "fast_io_fail_tmo"),
    *("keep_alive_tmo", "hdr_digest", "data_digest", "tos"),
}
_FLAGS = {"duplicate_connect", "disable_sqflow", "discovery"}
_REQUIRED = ("transport", "traddr", "nqn")


class Fabrics:
    """The initiator's controllers."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._ours: list[Controller] = []
        world.modules.on("nvme_fabrics", lambda _: self._load(), self._unload)
        world.nvmet.changed = self._rescan

    def _load(self) -> None:
        self._world.tree.ensure("/dev", PlainDir).put("nvme-fabrics", Device("char", "nvme-fabrics"))

    def _unload(self) -> None:
        self._world.tree.ensure("/dev", PlainDir).take("nvme-fabrics")

    def request(self, text: str) -> str:
        """Connect. Raises EINVAL, EALREADY, ECONNREFUSED, EIO for what the target refuses."""
        words = self._parse(text)
        if any((c.nqn, c.identity["hostnqn"], c.address) == _who(words) for c in self._ours):
            raise refuse(errno.EALREADY)
        if self._world.newer(6, 12) and any(_shares_id(c, words) for c in self._ours):
            self._world.say("nvme_fabrics: found same hostid but different hostnqn")
            raise refuse(errno.EINVAL)
        if not self._world.modules.request(f"nvme_{words['transport']}"):
            self._world.say(f"nvme_fabrics: no handler found for transport {words['transport']}.")
            raise refuse(errno.EINVAL)
        subsystem = self._target(words)
        subsystem.discovered = True
        return self._attach(words, subsystem)

    def _parse(self, text: str) -> dict[str, str]:
        words: dict[str, str] = {}
        for word in text.strip().split(","):
            key, _, value = word.partition("=")
            if key not in _KNOWN | _FLAGS:
                self._world.say(f"nvme_fabrics: unknown parameter or missing value '{word}' in ctrl creation request")
                raise refuse(errno.EINVAL)
            words[key] = value
        if any(key not in words for key in _REQUIRED) or not 16 <= int(words.get("queue_size", 128)) <= 1024:
            raise refuse(errno.EINVAL)
        return words

    def _target(self, words: dict[str, str]) -> Subsystem:
        target = self._world.nvmet
        address = (words["traddr"], words.get("trsvcid", "4420"))
        there = self._world.net.answering(address[0])
        listening = (p for p in target.ports.values() if p.listening and p.namespace == there)
        port = next((p for p in listening if _answers(p.address, address)), None)
        if port is None:
            self._world.say("nvme nvme0: failed to connect socket: -111")
            raise refuse(errno.ECONNREFUSED)
        subsystem = target.subsystems.get(words["nqn"]) if words["nqn"] in port.subsystems else None
        if subsystem is None:
            self._world.say("nvme nvme0: Connect Invalid Data Parameter, subsysnqn")
            raise refuse(errno.EIO)
        if subsystem.values["allow_any_host"] != "1" and words.get("hostnqn") not in subsystem.hosts:
            self._world.say("nvme nvme0: Connect for subsystem is not allowed, hostnqn")
            raise refuse(errno.EIO)
        return subsystem

    def _attach(self, words: dict[str, str], subsystem: Subsystem) -> str:
        nvme = self._world.nvme
        identity = {"hostnqn": words.get("hostnqn", ""), "hostid": words.get("hostid", "")}
        identity |= {key: subsystem.values[key] for key in ("serial", "model")}
        controller = Controller(nvme.next_instance(), "tcp", _where(words), words["nqn"], identity, "nvme_tcp")
        nvme.add(controller, delete=lambda: self._delete(controller))
        self._ours.append(controller)
        self._world.later(lambda: self._scan(controller))
        return f"instance={controller.instance},cntlid=1"

    def _delete(self, controller: Controller) -> None:
        controller.state = "deleting"
        self._ours.remove(controller)
        self._world.later(lambda: self._world.nvme.remove(controller))

    def _rescan(self, nqn: str) -> None:
        for controller in self._ours:
            if controller.nqn == nqn:
                self._world.later(lambda c=controller: self._scan(c))  # type: ignore[misc]

    def _scan(self, controller: Controller) -> None:
        """Bring the controller's disks in line with the subsystem's enabled namespaces."""
        subsystem = self._world.nvmet.subsystems.get(controller.nqn)
        if controller not in self._ours or subsystem is None:
            return
        live = {nsid: ns for nsid, ns in subsystem.namespaces.items() if ns.disk}
        for nsid in set(controller.disks) - set(live):
            self._world.nvme.drop_namespace(controller, nsid)
        for nsid, namespace in live.items():
            if nsid not in controller.disks and namespace.disk:
                uuid = namespace.values["device_uuid"]
                self._world.nvme.add_namespace(controller, nsid, namespace.disk.size, uuid)


def _answers(listening: tuple[str, str], wanted: tuple[str, str]) -> bool:
    return listening[1] == wanted[1] and listening[0] in (wanted[0], "0.0.0.0", "::")


def _shares_id(controller: Controller, words: dict[str, str]) -> bool:
    same_id = controller.identity["hostid"] == words.get("hostid")
    return same_id and controller.identity["hostnqn"] != words.get("hostnqn")


def _where(words: dict[str, str]) -> str:
    return f"traddr={words['traddr']},trsvcid={words.get('trsvcid', '4420')}"


def _who(words: dict[str, str]) -> tuple[str, str, str]:
    return words["nqn"], words.get("hostnqn", ""), _where(words)
