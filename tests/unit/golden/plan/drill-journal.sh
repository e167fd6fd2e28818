#!/bin/bash
# drill-journal: RAID 5 loses its write journal: it looks clean, and every write fails
#
# What `nvlab up` would do, without its care: this script keeps no journal, and nothing undoes it. Run it as root, in a guest
# that you can throw away. It stops at the first command that fails.
# It wants nvlab.ko in the current directory (nvlab kmod build --into .) and 66560K$0x140000000
# reserved on the kernel's command line (memmap=).
set -euo pipefail
trap 'echo "line $LINENO failed: $BASH_COMMAND" >&2' ERR

# The first number that no block device called $1 has.
free_number() {
    local number=0
    while [ -e "/sys/block/$1$number" ]; do number=$((number + 1)); done
    echo "$number"
}

# The attribute that bounds discards to the disk $1, or to the disk of the partition $1.
discard_limit() {
    local at
    at=$(readlink -f "/sys/class/block/$(basename "$(readlink -f "$1")")")
    [ ! -e "$at/partition" ] || at=${at%/*}
    echo "$at/queue/discard_max_bytes"
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
modprobe null_blk nr_devices=0

# configfs
if ! mountpoint -q /sys/kernel/config; then
    mount -t configfs configfs /sys/kernel/config
fi

# device/module
if ! [ -d /sys/module/nvlab ]; then
    insmod nvlab.ko
fi

# device.log
mkdir /sys/kernel/config/nvlab/nvlab-drill-journal-log
printf %s 0x140000000 > /sys/kernel/config/nvlab/nvlab-drill-journal-log/memmap_start
printf %s 68157440 > /sys/kernel/config/nvlab/nvlab-drill-journal-log/memmap_size
printf %s 512 > /sys/kernel/config/nvlab/nvlab-drill-journal-log/block_size
printf %s 0 > /sys/kernel/config/nvlab/nvlab-drill-journal-log/vwc
printf %s 140d9871113257439c31 > /sys/kernel/config/nvlab/nvlab-drill-journal-log/serial
printf %s nqn.2026-11.io.nvlab:device:drill-journal:log > /sys/kernel/config/nvlab/nvlab-drill-journal-log/subnqn
printf %s 10293 > /sys/kernel/config/nvlab/nvlab-drill-journal-log/read_delay
printf %s 1707 > /sys/kernel/config/nvlab/nvlab-drill-journal-log/read_time
printf %s 11952 > /sys/kernel/config/nvlab/nvlab-drill-journal-log/write_delay
printf %s 2048 > /sys/kernel/config/nvlab/nvlab-drill-journal-log/write_time
printf %s 1 > /sys/kernel/config/nvlab/nvlab-drill-journal-log/nr_io_units
printf %s 12 > /sys/kernel/config/nvlab/nvlab-drill-journal-log/io_unit_shift
printf %s 1 > /sys/kernel/config/nvlab/nvlab-drill-journal-log/power
LOG_DEV=$(nvme_namespace nqn.2026-11.io.nvlab:device:drill-journal:log 1)

# disk.pool.1
mkdir /sys/kernel/config/nullb/nvlab-drill-jour-8db6367c
printf %s 64 > /sys/kernel/config/nullb/nvlab-drill-jour-8db6367c/size
printf %s 512 > /sys/kernel/config/nullb/nvlab-drill-jour-8db6367c/blocksize
printf %s 1 > /sys/kernel/config/nullb/nvlab-drill-jour-8db6367c/memory_backed
printf %s 2 > /sys/kernel/config/nullb/nvlab-drill-jour-8db6367c/queue_mode
printf %s 1 > /sys/kernel/config/nullb/nvlab-drill-jour-8db6367c/irqmode
printf %s 0 > /sys/kernel/config/nullb/nvlab-drill-jour-8db6367c/completion_nsec
printf %s 1 > /sys/kernel/config/nullb/nvlab-drill-jour-8db6367c/submit_queues
printf %s 64 > /sys/kernel/config/nullb/nvlab-drill-jour-8db6367c/hw_queue_depth
printf %s 1 > /sys/kernel/config/nullb/nvlab-drill-jour-8db6367c/power
POOL_1_DEV=/dev/nvlab-drill-jour-8db6367c

# disk.pool.2
mkdir /sys/kernel/config/nullb/nvlab-drill-jour-bf4a8e1f
printf %s 64 > /sys/kernel/config/nullb/nvlab-drill-jour-bf4a8e1f/size
printf %s 512 > /sys/kernel/config/nullb/nvlab-drill-jour-bf4a8e1f/blocksize
printf %s 1 > /sys/kernel/config/nullb/nvlab-drill-jour-bf4a8e1f/memory_backed
printf %s 2 > /sys/kernel/config/nullb/nvlab-drill-jour-bf4a8e1f/queue_mode
printf %s 1 > /sys/kernel/config/nullb/nvlab-drill-jour-bf4a8e1f/irqmode
printf %s 0 > /sys/kernel/config/nullb/nvlab-drill-jour-bf4a8e1f/completion_nsec
printf %s 1 > /sys/kernel/config/nullb/nvlab-drill-jour-bf4a8e1f/submit_queues
printf %s 64 > /sys/kernel/config/nullb/nvlab-drill-jour-bf4a8e1f/hw_queue_depth
printf %s 1 > /sys/kernel/config/nullb/nvlab-drill-jour-bf4a8e1f/power
POOL_2_DEV=/dev/nvlab-drill-jour-bf4a8e1f

# disk.pool.3
mkdir /sys/kernel/config/nullb/nvlab-drill-jour-e78e2acc
printf %s 64 > /sys/kernel/config/nullb/nvlab-drill-jour-e78e2acc/size
printf %s 512 > /sys/kernel/config/nullb/nvlab-drill-jour-e78e2acc/blocksize
printf %s 1 > /sys/kernel/config/nullb/nvlab-drill-jour-e78e2acc/memory_backed
printf %s 2 > /sys/kernel/config/nullb/nvlab-drill-jour-e78e2acc/queue_mode
printf %s 1 > /sys/kernel/config/nullb/nvlab-drill-jour-e78e2acc/irqmode
printf %s 0 > /sys/kernel/config/nullb/nvlab-drill-jour-e78e2acc/completion_nsec
printf %s 1 > /sys/kernel/config/nullb/nvlab-drill-jour-e78e2acc/submit_queues
printf %s 64 > /sys/kernel/config/nullb/nvlab-drill-jour-e78e2acc/hw_queue_depth
printf %s 1 > /sys/kernel/config/nullb/nvlab-drill-jour-e78e2acc/power
POOL_3_DEV=/dev/nvlab-drill-jour-e78e2acc

# raid.md/ignore
mkdir -p /etc/mdadm/mdadm.conf.d
(set -C; printf '%s\n' 'ARRAY <ignore> UUID=1f20f239:e84f5aed:8da5c2ae:a6c13799' > /etc/mdadm/mdadm.conf.d/nvlab-nvlab-drill-journal-md.conf)

# raid.md
MD_NUMBER=$(free_number md)
MD_DISCARD_LIMIT=$(discard_limit "$LOG_DEV")
printf %s 0 > "$MD_DISCARD_LIMIT"
mdadm --create "/dev/md$MD_NUMBER" --run --metadata=1.2 --homehost=nvlab --name=nvlab-drill-journal-md --uuid=1f20f239:e84f5aed:8da5c2ae:a6c13799 --level=5 --raid-devices=3 --bitmap=none "--write-journal=$LOG_DEV" "$POOL_1_DEV" "$POOL_2_DEV" "$POOL_3_DEV"
SECONDS=0; until [ "$(cat "/sys/block/md$MD_NUMBER/md/resync_start")" = none ] && [ "$(cat "/sys/block/md$MD_NUMBER/md/sync_action")" = idle ] && [ "$(cat "/sys/block/md$MD_NUMBER/md/degraded")" = 0 ]; do sleep 0.1; ((SECONDS < 600)); done
printf %s write-back > "/sys/block/md$MD_NUMBER/md/journal_mode"
MD_DEV="/dev/md$MD_NUMBER"
MD_NAME=$(basename "$(realpath "$MD_DEV")")

# raid.md: fail log, at 40% of service
event_1() {
    mdadm --manage "$MD_DEV" --fail "$LOG_DEV"
}

# raid.md: remove log, at the end of service
event_2() {
    mdadm --manage "$MD_DEV" --remove "$LOG_DEV"
}

# raid.md: add log, at the end of service
event_3() {
    mdadm --readonly "$MD_DEV"
    mdadm --manage "$MD_DEV" --add-journal "$LOG_DEV"
    printf %s write-back > "/sys/block/$MD_NAME/md/journal_mode"
}

