# SPDX-License-Identifier: GPL-2.0-or-later
"""Wires: never in the way of a network that is there, and never taken for one that is not ours."""

from __future__ import annotations

import pytest
from machine import plan_of, virgin

from nvlab.errors import Conflict
from nvlab.kernel.fake import FakeKernel
from nvlab.kernel.ops import Run
from nvlab.plan import Plan
from nvlab.scenario.load import loads

LAB = """
schema = 1
[disk.a]
size = "32M"
[disk.b]
size = "32M"
[wire.w]
delay = "1ms"
{network}
[export.one]
on = "a"
over = "w"
hosts = ["x"]
[export.two]
on = "b"
over = "w"
hosts = ["y"]
[connect.x]
to = "one"
[connect.y]
to = "two"
"""
OWN = 'network = "10.77.0.0/30"'


def lab(name: str = "lab", network: str = "") -> Plan:
    return plan_of(loads(LAB.format(network=network), name=name))


def test_two_exports_share_the_port_at_the_far_end_of_a_wire(machines):
    machine = machines(virgin)
    outputs = machine.up(lab())
    assert outputs["one.port.number"] == outputs["two.port.number"]
    (port,) = machine.world.nvmet.ports.values()
    assert port.namespace == outputs["w.netns"] and port.address == (outputs["w.far"], "4420")
    machine.down("lab")
    machine.assert_equals(machine.start, "after down")


def test_labs_have_wires_of_their_own_and_may_use_the_same_port(machines):
    machine = machines(virgin)
    one, two = machine.up(lab("one")), machine.up(lab("two"))
    assert not set(one.values()) & {two[key] for key in ("w.interface", "w.netns", "w.near", "w.far", "one.port.number")}
    machine.down("one")
    machine.down("two")
    machine.assert_equals(machine.start, "after both")


@pytest.mark.parametrize(
    ("there", "said"),
    [
        ("10.77.0.1/8", "this node has 10.77.0.1 on eth1"),
        ("10.77.0.9/24", "this node has 10.77.0.0/24 on eth1"),
        ("10.77.0.2/32", "this node has 10.77.0.2 on eth1"),
    ],
)
def test_a_network_that_is_there_is_never_shadowed(machines, there, said):
    machine = machines(virgin)
    interface(machine, "eth1", there)
    before = machine.snapshot()
    with pytest.raises(Conflict) as caught:
        machine.up(lab(network=OWN))
    assert caught.value.message == f"wire.w: network 10.77.0.0/30 is taken: {said}"
    assert "network = " in (caught.value.hint or "")
    machine.assert_equals(before, "after the refusal")


def test_a_network_beside_it_and_the_way_to_the_world_do_not_matter(machines):
    machine = machines(virgin)
    interface(machine, "eth1", "10.77.0.5/30")
    interface(machine, "tun0", "0.0.0.1/1")
    machine.up(lab(network=OWN))


def test_two_labs_cannot_have_one_network(machines):
    machine = machines(virgin)
    machine.up(lab("one", OWN))
    with pytest.raises(Conflict, match=r"network 10\.77\.0\.0/30 is taken"):
        machine.up(lab("two", OWN))
    assert machine.process().labs() == ["one"]


def test_an_interface_of_that_name_is_somebody_s(machines):
    machine = machines(virgin)
    interface(machine, "nvlab-lab-w", "10.0.0.1/24")
    with pytest.raises(Conflict, match="there is a network interface nvlab-lab-w already"):
        machine.up(lab())


def test_an_interface_that_has_taken_the_place_of_ours_is_left_alone(machines):
    machine = machines(virgin)
    machine.up(lab())
    FakeKernel(machine.world).perform(Run(("ip", "link", "del", "nvlab-lab-w")))
    interface(machine, "nvlab-lab-w", "10.0.0.1/24")
    machine.down("lab")
    assert "nvlab-lab-w" in machine.world.net.spaces[""]
    assert "/run/nvlab/net/nvlab-lab-w" not in machine.world.net.spaces


def interface(machine, name: str, address: str) -> None:
    """An interface of somebody else's, up, with an address."""
    kernel = FakeKernel(machine.world)
    far = f"/run/netns-of-{name}"
    machine.world.tree.directory("/run").create(far[5:], machine.world.tree.node("/lib/nvlab/nvlab.ko"))
    machine.world.net.unshare(far)
    mac = ("address", "02:ff:00:00:00:01")
    kernel.perform(Run(("ip", "link", "add", name, *mac, "type", "veth", "peer", "name", "far", "netns", far)))
    kernel.perform(Run(("ip", "address", "add", address, "dev", name)))
    kernel.perform(Run(("ip", "link", "set", name, "up")))
