# SPDX-License-Identifier: GPL-2.0-or-later
"""A plan as a bash script that makes the same lab without nvlab: for reading, for a paper's appendix, for a bug report. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from nvlab.errors import UsageError
from nvlab.plan import Plan, event_lines, event_title, references, shell_lines, variable, wanted

# Verbs whose safety lies in what nvlab looks at first, so that a script must not do them.
_REFUSED = {"disk.claim": "a script would not check that nothing is lost on a real disk"}

_HEAD = """\
#!/bin/bash
# {title}
#
# What `nvlab up` would do, without its care: this script keeps no journal, and nothing undoes it. Run it as root, in a guest
# that you can throw away. It stops at the first command that fails.{module}
set -euo pipefail
trap 'echo "line $LINENO failed: $BASH_COMMAND" >&2' ERR
"""
_MODULE = """
# It wants nvlab.ko in the current directory (nvlab kmod build --into .) and {regions}
# reserved on the kernel's command line (memmap=)."""

# What the engine looks up, in bash. A script holds those that it calls.
FUNCTIONS = {
    "free_number": """\
# The first number that no block device called $1 has.
free_number() {
    local number=0
    while [ -e "/sys/block/$1$number" ]; do number=$((number + 1)); done
    echo "$number"
}
""",
    "discard_limit": """\
# The attribute that bounds discards to the disk $1, or to the disk of the partition $1.
discard_limit() {
    local at
    at=$(readlink -f "/sys/class/block/$(basename "$(readlink -f "$1")")")
    [ ! -e "$at/partition" ] || at=${at%/*}
    echo "$at/queue/discard_max_bytes"
}
""",
    "nvme_namespace": """\
# The block device of namespace $2 of the subsystem $1, once it is there.
nvme_namespace() {
    local disk
    for ((SECONDS = 0; SECONDS < 30; )); do
        for disk in /sys/block/nvme*; do
            [[ ${disk##*/} =~ ^nvme[0-9]+n[0-9]+$ ]] || continue
            [ "$(cat "$disk/device/subsysnqn") $(cat "$disk/nsid")" = "$1 $2" ] || continue
            echo "/dev/${disk##*/}"
            return
        done
        sleep 0.1
    done
    echo "namespace $2 of $1 did not appear" >&2
    return 1
}
""",
    "nvme_generic": """\
# The generic device of the only namespace of the subsystem $1, once it is there.
nvme_generic() {
    local node
    for ((SECONDS = 0; SECONDS < 30; )); do
        for node in /sys/class/nvme-generic/ng*; do
            [ -e "$node" ] && [ "$(cat "$node/device/subsysnqn")" = "$1" ] || continue
            echo "/dev/${node##*/}"
            return
        done
        sleep 0.1
    done
    echo "the namespace of $1 did not appear" >&2
    return 1
}
""",
    "pci_namespace": """\
# The block device of the NVMe controller whose BAR 0 lies at $1, once it is there.
pci_namespace() {
    local device bar disk
    for ((SECONDS = 0; SECONDS < 30; )); do
        for device in /sys/bus/pci/devices/*; do
            read -r bar _ < "$device/resource" || continue
            ((bar == $1)) || continue
            for disk in "$device"/nvme/nvme*/nvme*n*; do
                [ -e "$disk" ] || continue
                disk=${disk##*/}
                echo "/dev/${disk/c[0-9]*n/n}"
                return
            done
        done
        sleep 0.1
    done
    echo "no controller with its registers at $1 appeared" >&2
    return 1
}
""",
    "nvmet_port": """\
# The number of the target's port that listens on $1:$2, or a free one.
nvmet_port() {
    local port number=1
    for port in /sys/kernel/config/nvmet/ports/*; do
        [ -e "$port" ] || continue
        [ "$(cat "$port/addr_traddr"):$(cat "$port/addr_trsvcid")" = "$1:$2" ] || continue
        echo "${port##*/}"
        return
    done
    while [ -e "/sys/kernel/config/nvmet/ports/$number" ]; do number=$((number + 1)); done
    echo "$number"
}
""",
    "partition_node": """\
# The node of partition $2 of the disk $1.
partition_node() {
    case $1 in
        *[0-9]) echo "$1p$2" ;;
        *) echo "$1$2" ;;
    esac
}
""",
    "io_queues": """\
# How many I/O queues: at most $1, and no more than there are CPUs that are not isolated.
io_queues() {
    local cpus
    cpus=$(nproc)
    echo $((cpus < $1 ? cpus : $1))
}
""",
}


def render_shell(plan: Plan) -> str:
    """The script. Raises UsageError, with the reason, for a plan that no script should carry out."""
    _refuse(plan)
    body = "\n".join(_body(plan))
    used = [text for name, text in FUNCTIONS.items() if f"$({name} " in body]
    notes = "".join(f"# ! {note}\n" for note in plan.notes)
    return "\n".join([_head(plan), *used, *([notes] if notes else []), body])


def _head(plan: Plan) -> str:
    regions = " and ".join(f"{size >> 10}K${start:#x}" for start, size in plan.needs.reserved)
    module = _MODULE.format(regions=regions) if regions else ""
    title = " ".join(plan.title.split())  # one line, whatever the scenario has
    return _HEAD.format(title=f"{plan.lab}: {title}" if title else plan.lab, module=module)


def _body(plan: Plan) -> Iterator[str]:
    refs = wanted(plan)
    for step in plan.steps:
        yield f"# {step.id}"
        yield from shell_lines(step, refs)
        yield ""
    yield from _events(plan)


def _events(plan: Plan) -> Iterator[str]:
    """What happens during the loads, as functions for who sources the script and runs the loads."""
    number = 0
    for work in plan.workloads:
        for event in work.get("events", ()):
            number += 1
            yield f"# {event_title(event, work['name'])}"
            yield from (f"event_{number}() {{", *(f"    {line}" for line in event_lines(event)), "}", "")


def _refuse(plan: Plan) -> None:
    for step in plan.steps:
        if step.verb in _REFUSED:
            why = _REFUSED[step.verb]
            raise UsageError(f"{step.owner} cannot be put into a script: {why}", hint="nvlab plan shows its steps")
    known: dict[str, str] = {}
    for ref in sorted({ref for step in plan.steps for ref in references(step.args)}):
        if known.setdefault(variable(ref), ref) != ref:
            raise UsageError(
                f"{known[variable(ref)]} and {ref} would both be ${variable(ref)} in a script",
                hint="rename one of them",
            )
