#!/bin/bash
# drill-member: RAID 5 loses a member, rebuilds onto a spare, and replaces another while it works
#
# What `nvlab up` would do, without its care: this script keeps no journal, and nothing undoes it. Run it as root, in a guest
# that you can throw away. It stops at the first command that fails.
# It wants nvlab.ko in the current directory (nvlab kmod build --into .) and 33792K$0x140000000 and 33792K$0x142200000 and 33792K$0x144400000 and 33792K$0x146600000 and 33792K$0x148800000
# reserved on the kernel's command line (memmap=).
set -euo pipefail
trap 'echo "line $LINENO failed: $BASH_COMMAND" >&2' ERR

# The first number that no block device called $1 has.
free_number() {
    local number=0
    while [ -e "/sys/block/$1$number" ]; do number=$((number + 1)); done
    echo "$number"
}

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

# modules
modprobe --all configfs nvme raid456

# configfs
if ! mountpoint -q /sys/kernel/config; then
    mount -t configfs configfs /sys/kernel/config
fi

# device/module
if ! [ -d /sys/module/nvlab ]; then
    insmod nvlab.ko
fi

# device.ssd.1
mkdir /sys/kernel/config/nvlab/nvlab-drill-member-ssd-1
printf %s 0x140000000 > /sys/kernel/config/nvlab/nvlab-drill-member-ssd-1/memmap_start
printf %s 34603008 > /sys/kernel/config/nvlab/nvlab-drill-member-ssd-1/memmap_size
printf %s 512 > /sys/kernel/config/nvlab/nvlab-drill-member-ssd-1/block_size
printf %s 0 > /sys/kernel/config/nvlab/nvlab-drill-member-ssd-1/vwc
printf %s f7c373516c9d506cb687 > /sys/kernel/config/nvlab/nvlab-drill-member-ssd-1/serial
printf %s nqn.2026-11.io.nvlab:device:drill-member:ssd.1 > /sys/kernel/config/nvlab/nvlab-drill-member-ssd-1/subnqn
printf %s 10293 > /sys/kernel/config/nvlab/nvlab-drill-member-ssd-1/read_delay
printf %s 1707 > /sys/kernel/config/nvlab/nvlab-drill-member-ssd-1/read_time
printf %s 11952 > /sys/kernel/config/nvlab/nvlab-drill-member-ssd-1/write_delay
printf %s 2048 > /sys/kernel/config/nvlab/nvlab-drill-member-ssd-1/write_time
printf %s 1 > /sys/kernel/config/nvlab/nvlab-drill-member-ssd-1/nr_io_units
printf %s 12 > /sys/kernel/config/nvlab/nvlab-drill-member-ssd-1/io_unit_shift
printf %s 1 > /sys/kernel/config/nvlab/nvlab-drill-member-ssd-1/power
SSD_1_DEV=$(nvme_namespace nqn.2026-11.io.nvlab:device:drill-member:ssd.1 1)

# device.ssd.2
mkdir /sys/kernel/config/nvlab/nvlab-drill-member-ssd-2
printf %s 0x142200000 > /sys/kernel/config/nvlab/nvlab-drill-member-ssd-2/memmap_start
printf %s 34603008 > /sys/kernel/config/nvlab/nvlab-drill-member-ssd-2/memmap_size
printf %s 512 > /sys/kernel/config/nvlab/nvlab-drill-member-ssd-2/block_size
printf %s 0 > /sys/kernel/config/nvlab/nvlab-drill-member-ssd-2/vwc
printf %s 5229cf6fe7ea5503b430 > /sys/kernel/config/nvlab/nvlab-drill-member-ssd-2/serial
printf %s nqn.2026-11.io.nvlab:device:drill-member:ssd.2 > /sys/kernel/config/nvlab/nvlab-drill-member-ssd-2/subnqn
printf %s 10293 > /sys/kernel/config/nvlab/nvlab-drill-member-ssd-2/read_delay
printf %s 1707 > /sys/kernel/config/nvlab/nvlab-drill-member-ssd-2/read_time
printf %s 11952 > /sys/kernel/config/nvlab/nvlab-drill-member-ssd-2/write_delay
printf %s 2048 > /sys/kernel/config/nvlab/nvlab-drill-member-ssd-2/write_time
printf %s 1 > /sys/kernel/config/nvlab/nvlab-drill-member-ssd-2/nr_io_units
printf %s 12 > /sys/kernel/config/nvlab/nvlab-drill-member-ssd-2/io_unit_shift
printf %s 1 > /sys/kernel/config/nvlab/nvlab-drill-member-ssd-2/power
SSD_2_DEV=$(nvme_namespace nqn.2026-11.io.nvlab:device:drill-member:ssd.2 1)
SSD_2_NAME=$(basename "$(realpath "$SSD_2_DEV")")

# device.ssd.3
mkdir /sys/kernel/config/nvlab/nvlab-drill-member-ssd-3
printf %s 0x144400000 > /sys/kernel/config/nvlab/nvlab-drill-member-ssd-3/memmap_start
printf %s 34603008 > /sys/kernel/config/nvlab/nvlab-drill-member-ssd-3/memmap_size
printf %s 512 > /sys/kernel/config/nvlab/nvlab-drill-member-ssd-3/block_size
printf %s 0 > /sys/kernel/config/nvlab/nvlab-drill-member-ssd-3/vwc
printf %s 44d8c62a827150adb652 > /sys/kernel/config/nvlab/nvlab-drill-member-ssd-3/serial
printf %s nqn.2026-11.io.nvlab:device:drill-member:ssd.3 > /sys/kernel/config/nvlab/nvlab-drill-member-ssd-3/subnqn
printf %s 10293 > /sys/kernel/config/nvlab/nvlab-drill-member-ssd-3/read_delay
printf %s 1707 > /sys/kernel/config/nvlab/nvlab-drill-member-ssd-3/read_time
printf %s 11952 > /sys/kernel/config/nvlab/nvlab-drill-member-ssd-3/write_delay
printf %s 2048 > /sys/kernel/config/nvlab/nvlab-drill-member-ssd-3/write_time
printf %s 1 > /sys/kernel/config/nvlab/nvlab-drill-member-ssd-3/nr_io_units
printf %s 12 > /sys/kernel/config/nvlab/nvlab-drill-member-ssd-3/io_unit_shift
printf %s 1 > /sys/kernel/config/nvlab/nvlab-drill-member-ssd-3/power
SSD_3_DEV=$(nvme_namespace nqn.2026-11.io.nvlab:device:drill-member:ssd.3 1)

# device.ssd.4
mkdir /sys/kernel/config/nvlab/nvlab-drill-member-ssd-4
printf %s 0x146600000 > /sys/kernel/config/nvlab/nvlab-drill-member-ssd-4/memmap_start
printf %s 34603008 > /sys/kernel/config/nvlab/nvlab-drill-member-ssd-4/memmap_size
printf %s 512 > /sys/kernel/config/nvlab/nvlab-drill-member-ssd-4/block_size
printf %s 0 > /sys/kernel/config/nvlab/nvlab-drill-member-ssd-4/vwc
printf %s d4dea9f06d81523da93f > /sys/kernel/config/nvlab/nvlab-drill-member-ssd-4/serial
printf %s nqn.2026-11.io.nvlab:device:drill-member:ssd.4 > /sys/kernel/config/nvlab/nvlab-drill-member-ssd-4/subnqn
printf %s 10293 > /sys/kernel/config/nvlab/nvlab-drill-member-ssd-4/read_delay
printf %s 1707 > /sys/kernel/config/nvlab/nvlab-drill-member-ssd-4/read_time
printf %s 11952 > /sys/kernel/config/nvlab/nvlab-drill-member-ssd-4/write_delay
printf %s 2048 > /sys/kernel/config/nvlab/nvlab-drill-member-ssd-4/write_time
printf %s 1 > /sys/kernel/config/nvlab/nvlab-drill-member-ssd-4/nr_io_units
printf %s 12 > /sys/kernel/config/nvlab/nvlab-drill-member-ssd-4/io_unit_shift
printf %s 1 > /sys/kernel/config/nvlab/nvlab-drill-member-ssd-4/power
SSD_4_DEV=$(nvme_namespace nqn.2026-11.io.nvlab:device:drill-member:ssd.4 1)

# device.ssd.5
mkdir /sys/kernel/config/nvlab/nvlab-drill-member-ssd-5
printf %s 0x148800000 > /sys/kernel/config/nvlab/nvlab-drill-member-ssd-5/memmap_start
printf %s 34603008 > /sys/kernel/config/nvlab/nvlab-drill-member-ssd-5/memmap_size
printf %s 512 > /sys/kernel/config/nvlab/nvlab-drill-member-ssd-5/block_size
printf %s 0 > /sys/kernel/config/nvlab/nvlab-drill-member-ssd-5/vwc
printf %s 8250e39f4f1953118597 > /sys/kernel/config/nvlab/nvlab-drill-member-ssd-5/serial
printf %s nqn.2026-11.io.nvlab:device:drill-member:ssd.5 > /sys/kernel/config/nvlab/nvlab-drill-member-ssd-5/subnqn
printf %s 10293 > /sys/kernel/config/nvlab/nvlab-drill-member-ssd-5/read_delay
printf %s 1707 > /sys/kernel/config/nvlab/nvlab-drill-member-ssd-5/read_time
printf %s 11952 > /sys/kernel/config/nvlab/nvlab-drill-member-ssd-5/write_delay
printf %s 2048 > /sys/kernel/config/nvlab/nvlab-drill-member-ssd-5/write_time
printf %s 1 > /sys/kernel/config/nvlab/nvlab-drill-member-ssd-5/nr_io_units
printf %s 12 > /sys/kernel/config/nvlab/nvlab-drill-member-ssd-5/io_unit_shift
printf %s 1 > /sys/kernel/config/nvlab/nvlab-drill-member-ssd-5/power
SSD_5_DEV=$(nvme_namespace nqn.2026-11.io.nvlab:device:drill-member:ssd.5 1)
SSD_5_NAME=$(basename "$(realpath "$SSD_5_DEV")")

# raid.md/ignore
mkdir -p /etc/mdadm/mdadm.conf.d
(set -C; printf '%s\n' 'ARRAY <ignore> UUID=077a5c11:910e5c5f:b734946f:2d24cd46' > /etc/mdadm/mdadm.conf.d/nvlab-nvlab-drill-member-md.conf)

# raid.md
MD_NUMBER=$(free_number md)
mdadm --create "/dev/md$MD_NUMBER" --run --metadata=1.2 --homehost=nvlab --name=nvlab-drill-member-md --uuid=077a5c11:910e5c5f:b734946f:2d24cd46 --level=5 --raid-devices=4 --bitmap=none --chunk=64 "$SSD_1_DEV" "$SSD_2_DEV" "$SSD_3_DEV" "$SSD_4_DEV"
SECONDS=0; until [ "$(cat "/sys/block/md$MD_NUMBER/md/resync_start")" = none ] && [ "$(cat "/sys/block/md$MD_NUMBER/md/sync_action")" = idle ] && [ "$(cat "/sys/block/md$MD_NUMBER/md/degraded")" = 0 ]; do sleep 0.1; ((SECONDS < 600)); done
MD_DEV="/dev/md$MD_NUMBER"
MD_NAME=$(basename "$(realpath "$MD_DEV")")

# device.ssd.1/fault-tired
mkdir /sys/kernel/config/nvlab/nvlab-drill-member-ssd-1/faults/tired
printf %s delay > /sys/kernel/config/nvlab/nvlab-drill-member-ssd-1/faults/tired/action
printf %s read > /sys/kernel/config/nvlab/nvlab-drill-member-ssd-1/faults/tired/opcode
printf %s 0 > /sys/kernel/config/nvlab/nvlab-drill-member-ssd-1/faults/tired/slba
printf %s 0 > /sys/kernel/config/nvlab/nvlab-drill-member-ssd-1/faults/tired/nlb
printf %s 0 > /sys/kernel/config/nvlab/nvlab-drill-member-ssd-1/faults/tired/nsid
printf %s 0 > /sys/kernel/config/nvlab/nvlab-drill-member-ssd-1/faults/tired/queue
printf %s 0 > /sys/kernel/config/nvlab/nvlab-drill-member-ssd-1/faults/tired/controller
printf %s 10 > /sys/kernel/config/nvlab/nvlab-drill-member-ssd-1/faults/tired/every
printf %s 0 > /sys/kernel/config/nvlab/nvlab-drill-member-ssd-1/faults/tired/count
printf %s 1000000 > /sys/kernel/config/nvlab/nvlab-drill-member-ssd-1/faults/tired/chance
printf %s 20000000 > /sys/kernel/config/nvlab/nvlab-drill-member-ssd-1/faults/tired/delay
printf %s 0 > /sys/kernel/config/nvlab/nvlab-drill-member-ssd-1/faults/tired/enable

# device.ssd.2/fault-tired
mkdir /sys/kernel/config/nvlab/nvlab-drill-member-ssd-2/faults/tired
printf %s delay > /sys/kernel/config/nvlab/nvlab-drill-member-ssd-2/faults/tired/action
printf %s read > /sys/kernel/config/nvlab/nvlab-drill-member-ssd-2/faults/tired/opcode
printf %s 0 > /sys/kernel/config/nvlab/nvlab-drill-member-ssd-2/faults/tired/slba
printf %s 0 > /sys/kernel/config/nvlab/nvlab-drill-member-ssd-2/faults/tired/nlb
printf %s 0 > /sys/kernel/config/nvlab/nvlab-drill-member-ssd-2/faults/tired/nsid
printf %s 0 > /sys/kernel/config/nvlab/nvlab-drill-member-ssd-2/faults/tired/queue
printf %s 0 > /sys/kernel/config/nvlab/nvlab-drill-member-ssd-2/faults/tired/controller
printf %s 10 > /sys/kernel/config/nvlab/nvlab-drill-member-ssd-2/faults/tired/every
printf %s 0 > /sys/kernel/config/nvlab/nvlab-drill-member-ssd-2/faults/tired/count
printf %s 1000000 > /sys/kernel/config/nvlab/nvlab-drill-member-ssd-2/faults/tired/chance
printf %s 20000000 > /sys/kernel/config/nvlab/nvlab-drill-member-ssd-2/faults/tired/delay
printf %s 0 > /sys/kernel/config/nvlab/nvlab-drill-member-ssd-2/faults/tired/enable

# device.ssd.3/fault-tired
mkdir /sys/kernel/config/nvlab/nvlab-drill-member-ssd-3/faults/tired
printf %s delay > /sys/kernel/config/nvlab/nvlab-drill-member-ssd-3/faults/tired/action
printf %s read > /sys/kernel/config/nvlab/nvlab-drill-member-ssd-3/faults/tired/opcode
printf %s 0 > /sys/kernel/config/nvlab/nvlab-drill-member-ssd-3/faults/tired/slba
printf %s 0 > /sys/kernel/config/nvlab/nvlab-drill-member-ssd-3/faults/tired/nlb
printf %s 0 > /sys/kernel/config/nvlab/nvlab-drill-member-ssd-3/faults/tired/nsid
printf %s 0 > /sys/kernel/config/nvlab/nvlab-drill-member-ssd-3/faults/tired/queue
printf %s 0 > /sys/kernel/config/nvlab/nvlab-drill-member-ssd-3/faults/tired/controller
printf %s 10 > /sys/kernel/config/nvlab/nvlab-drill-member-ssd-3/faults/tired/every
printf %s 0 > /sys/kernel/config/nvlab/nvlab-drill-member-ssd-3/faults/tired/count
printf %s 1000000 > /sys/kernel/config/nvlab/nvlab-drill-member-ssd-3/faults/tired/chance
printf %s 20000000 > /sys/kernel/config/nvlab/nvlab-drill-member-ssd-3/faults/tired/delay
printf %s 0 > /sys/kernel/config/nvlab/nvlab-drill-member-ssd-3/faults/tired/enable

# device.ssd.4/fault-tired
mkdir /sys/kernel/config/nvlab/nvlab-drill-member-ssd-4/faults/tired
printf %s delay > /sys/kernel/config/nvlab/nvlab-drill-member-ssd-4/faults/tired/action
printf %s read > /sys/kernel/config/nvlab/nvlab-drill-member-ssd-4/faults/tired/opcode
printf %s 0 > /sys/kernel/config/nvlab/nvlab-drill-member-ssd-4/faults/tired/slba
printf %s 0 > /sys/kernel/config/nvlab/nvlab-drill-member-ssd-4/faults/tired/nlb
printf %s 0 > /sys/kernel/config/nvlab/nvlab-drill-member-ssd-4/faults/tired/nsid
printf %s 0 > /sys/kernel/config/nvlab/nvlab-drill-member-ssd-4/faults/tired/queue
printf %s 0 > /sys/kernel/config/nvlab/nvlab-drill-member-ssd-4/faults/tired/controller
printf %s 10 > /sys/kernel/config/nvlab/nvlab-drill-member-ssd-4/faults/tired/every
printf %s 0 > /sys/kernel/config/nvlab/nvlab-drill-member-ssd-4/faults/tired/count
printf %s 1000000 > /sys/kernel/config/nvlab/nvlab-drill-member-ssd-4/faults/tired/chance
printf %s 20000000 > /sys/kernel/config/nvlab/nvlab-drill-member-ssd-4/faults/tired/delay
printf %s 0 > /sys/kernel/config/nvlab/nvlab-drill-member-ssd-4/faults/tired/enable

# device.ssd.5/fault-tired
mkdir /sys/kernel/config/nvlab/nvlab-drill-member-ssd-5/faults/tired
printf %s delay > /sys/kernel/config/nvlab/nvlab-drill-member-ssd-5/faults/tired/action
printf %s read > /sys/kernel/config/nvlab/nvlab-drill-member-ssd-5/faults/tired/opcode
printf %s 0 > /sys/kernel/config/nvlab/nvlab-drill-member-ssd-5/faults/tired/slba
printf %s 0 > /sys/kernel/config/nvlab/nvlab-drill-member-ssd-5/faults/tired/nlb
printf %s 0 > /sys/kernel/config/nvlab/nvlab-drill-member-ssd-5/faults/tired/nsid
printf %s 0 > /sys/kernel/config/nvlab/nvlab-drill-member-ssd-5/faults/tired/queue
printf %s 0 > /sys/kernel/config/nvlab/nvlab-drill-member-ssd-5/faults/tired/controller
printf %s 10 > /sys/kernel/config/nvlab/nvlab-drill-member-ssd-5/faults/tired/every
printf %s 0 > /sys/kernel/config/nvlab/nvlab-drill-member-ssd-5/faults/tired/count
printf %s 1000000 > /sys/kernel/config/nvlab/nvlab-drill-member-ssd-5/faults/tired/chance
printf %s 20000000 > /sys/kernel/config/nvlab/nvlab-drill-member-ssd-5/faults/tired/delay
printf %s 0 > /sys/kernel/config/nvlab/nvlab-drill-member-ssd-5/faults/tired/enable

# raid.md: fail ssd.2, at 4 s of checked
event_1() {
    mdadm --manage "$MD_DEV" --fail "$SSD_2_DEV"
}

# raid.md: remove ssd.2, at 5 s of checked
event_2() {
    mdadm --manage "$MD_DEV" --remove "$SSD_2_DEV"
}

# raid.md: add ssd.5, at 6 s of checked
event_3() {
    mdadm --manage "$MD_DEV" --add "$SSD_5_DEV"
    SECONDS=0; until [ "$(cat "/sys/block/$MD_NAME/md/dev-$SSD_5_NAME/state")" = in_sync ] && [ "$(cat "/sys/block/$MD_NAME/md/sync_action")" = idle ]; do sleep 0.1; ((SECONDS < 600)); done
}

# device.ssd: ssd.1 tired on, at 65% of checked
event_4() {
    printf %s 1 > /sys/kernel/config/nvlab/nvlab-drill-member-ssd-1/faults/tired/enable
}

# raid.md: replace ssd.1, at 70% of checked
event_5() {
    mdadm --manage "$MD_DEV" --add "$SSD_2_DEV"
    mdadm --manage "$MD_DEV" --replace "$SSD_1_DEV" --with "$SSD_2_DEV"
    SECONDS=0; until [ "$(cat "/sys/block/$MD_NAME/md/dev-$SSD_2_NAME/state")" = in_sync ] && [ "$(cat "/sys/block/$MD_NAME/md/sync_action")" = idle ]; do sleep 0.1; ((SECONDS < 600)); done
    mdadm --manage "$MD_DEV" --remove "$SSD_1_DEV"
}

