#!/bin/bash
# drill-host-power: The power of the machine is cut: what becomes of writes that RAID 5 with a write-back journal had acknowledged
#
# What `nvlab up` would do, without its care: this script keeps no journal, and nothing undoes it. Run it as root, in a guest
# that you can throw away. It stops at the first command that fails.
# It wants nvlab.ko in the current directory (nvlab kmod build --into .) and 33792K$0x140000000 and 33792K$0x142200000 and 33792K$0x144400000 and 33792K$0x146600000
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

# How many I/O queues: at most $1, and no more than there are CPUs that are not isolated.
io_queues() {
    local cpus
    cpus=$(nproc)
    echo $((cpus < $1 ? cpus : $1))
}

# modules
modprobe --all configfs nvme raid456 dm-cache dm-cache-smq nvmet nvmet-tcp nvme-fabrics nvme-tcp
modprobe null_blk nr_devices=0

# configfs
if ! mountpoint -q /sys/kernel/config; then
    mount -t configfs configfs /sys/kernel/config
fi

# device/module
if ! [ -d /sys/module/nvlab ]; then
    insmod nvlab.ko
fi

# device.ssd.1
mkdir /sys/kernel/config/nvlab/nvlab-drill-host-power-ssd-1
printf %s 0x140000000 > /sys/kernel/config/nvlab/nvlab-drill-host-power-ssd-1/memmap_start
printf %s 34603008 > /sys/kernel/config/nvlab/nvlab-drill-host-power-ssd-1/memmap_size
printf %s 512 > /sys/kernel/config/nvlab/nvlab-drill-host-power-ssd-1/block_size
printf %s 1 > /sys/kernel/config/nvlab/nvlab-drill-host-power-ssd-1/vwc
printf %s 66e1174d1d075537bf93 > /sys/kernel/config/nvlab/nvlab-drill-host-power-ssd-1/serial
printf %s nqn.2026-11.io.nvlab:device:drill-host-power:ssd.1 > /sys/kernel/config/nvlab/nvlab-drill-host-power-ssd-1/subnqn
printf %s ssd > /sys/kernel/config/nvlab/nvlab-drill-host-power-ssd-1/kind
printf %s 2 > /sys/kernel/config/nvlab/nvlab-drill-host-power-ssd-1/medium/dies
printf %s 1 > /sys/kernel/config/nvlab/nvlab-drill-host-power-ssd-1/medium/planes
printf %s 8192 > /sys/kernel/config/nvlab/nvlab-drill-host-power-ssd-1/medium/blocks
printf %s 32768 > /sys/kernel/config/nvlab/nvlab-drill-host-power-ssd-1/medium/page_size
printf %s 2 > /sys/kernel/config/nvlab/nvlab-drill-host-power-ssd-1/medium/cell_bits
printf %s 1 > /sys/kernel/config/nvlab/nvlab-drill-host-power-ssd-1/medium/program_pages
printf %s 30013 > /sys/kernel/config/nvlab/nvlab-drill-host-power-ssd-1/medium/read_lsb
printf %s 42013 > /sys/kernel/config/nvlab/nvlab-drill-host-power-ssd-1/medium/read_msb
printf %s 20000000 > /sys/kernel/config/nvlab/nvlab-drill-host-power-ssd-1/medium/program_lsb
printf %s 20000000 > /sys/kernel/config/nvlab/nvlab-drill-host-power-ssd-1/medium/program_msb
printf %s 839 > /sys/kernel/config/nvlab/nvlab-drill-host-power-ssd-1/medium/channel_speed
printf %s 3523 > /sys/kernel/config/nvlab/nvlab-drill-host-power-ssd-1/medium/link_speed
printf %s 21500 > /sys/kernel/config/nvlab/nvlab-drill-host-power-ssd-1/medium/fw_read
printf %s 30490 > /sys/kernel/config/nvlab/nvlab-drill-host-power-ssd-1/medium/fw_read_large
printf %s 4000 > /sys/kernel/config/nvlab/nvlab-drill-host-power-ssd-1/medium/fw_write
printf %s 460 > /sys/kernel/config/nvlab/nvlab-drill-host-power-ssd-1/medium/fw_write_unit
printf %s 1 > /sys/kernel/config/nvlab/nvlab-drill-host-power-ssd-1/medium/plp
printf %s 4 > /sys/kernel/config/nvlab/nvlab-drill-host-power-ssd-1/medium/gc_low
printf %s 1 > /sys/kernel/config/nvlab/nvlab-drill-host-power-ssd-1/power
SSD_1_DEV=$(nvme_namespace nqn.2026-11.io.nvlab:device:drill-host-power:ssd.1 1)

# device.ssd.2
mkdir /sys/kernel/config/nvlab/nvlab-drill-host-power-ssd-2
printf %s 0x142200000 > /sys/kernel/config/nvlab/nvlab-drill-host-power-ssd-2/memmap_start
printf %s 34603008 > /sys/kernel/config/nvlab/nvlab-drill-host-power-ssd-2/memmap_size
printf %s 512 > /sys/kernel/config/nvlab/nvlab-drill-host-power-ssd-2/block_size
printf %s 1 > /sys/kernel/config/nvlab/nvlab-drill-host-power-ssd-2/vwc
printf %s 9045ff2956115cce9c0d > /sys/kernel/config/nvlab/nvlab-drill-host-power-ssd-2/serial
printf %s nqn.2026-11.io.nvlab:device:drill-host-power:ssd.2 > /sys/kernel/config/nvlab/nvlab-drill-host-power-ssd-2/subnqn
printf %s ssd > /sys/kernel/config/nvlab/nvlab-drill-host-power-ssd-2/kind
printf %s 2 > /sys/kernel/config/nvlab/nvlab-drill-host-power-ssd-2/medium/dies
printf %s 1 > /sys/kernel/config/nvlab/nvlab-drill-host-power-ssd-2/medium/planes
printf %s 8192 > /sys/kernel/config/nvlab/nvlab-drill-host-power-ssd-2/medium/blocks
printf %s 32768 > /sys/kernel/config/nvlab/nvlab-drill-host-power-ssd-2/medium/page_size
printf %s 2 > /sys/kernel/config/nvlab/nvlab-drill-host-power-ssd-2/medium/cell_bits
printf %s 1 > /sys/kernel/config/nvlab/nvlab-drill-host-power-ssd-2/medium/program_pages
printf %s 30013 > /sys/kernel/config/nvlab/nvlab-drill-host-power-ssd-2/medium/read_lsb
printf %s 42013 > /sys/kernel/config/nvlab/nvlab-drill-host-power-ssd-2/medium/read_msb
printf %s 20000000 > /sys/kernel/config/nvlab/nvlab-drill-host-power-ssd-2/medium/program_lsb
printf %s 20000000 > /sys/kernel/config/nvlab/nvlab-drill-host-power-ssd-2/medium/program_msb
printf %s 839 > /sys/kernel/config/nvlab/nvlab-drill-host-power-ssd-2/medium/channel_speed
printf %s 3523 > /sys/kernel/config/nvlab/nvlab-drill-host-power-ssd-2/medium/link_speed
printf %s 21500 > /sys/kernel/config/nvlab/nvlab-drill-host-power-ssd-2/medium/fw_read
printf %s 30490 > /sys/kernel/config/nvlab/nvlab-drill-host-power-ssd-2/medium/fw_read_large
printf %s 4000 > /sys/kernel/config/nvlab/nvlab-drill-host-power-ssd-2/medium/fw_write
printf %s 460 > /sys/kernel/config/nvlab/nvlab-drill-host-power-ssd-2/medium/fw_write_unit
printf %s 1 > /sys/kernel/config/nvlab/nvlab-drill-host-power-ssd-2/medium/plp
printf %s 4 > /sys/kernel/config/nvlab/nvlab-drill-host-power-ssd-2/medium/gc_low
printf %s 1 > /sys/kernel/config/nvlab/nvlab-drill-host-power-ssd-2/power
SSD_2_DEV=$(nvme_namespace nqn.2026-11.io.nvlab:device:drill-host-power:ssd.2 1)

# device.ssd.3
mkdir /sys/kernel/config/nvlab/nvlab-drill-host-power-ssd-3
printf %s 0x144400000 > /sys/kernel/config/nvlab/nvlab-drill-host-power-ssd-3/memmap_start
printf %s 34603008 > /sys/kernel/config/nvlab/nvlab-drill-host-power-ssd-3/memmap_size
printf %s 512 > /sys/kernel/config/nvlab/nvlab-drill-host-power-ssd-3/block_size
printf %s 1 > /sys/kernel/config/nvlab/nvlab-drill-host-power-ssd-3/vwc
printf %s 2feb3e1607865782a206 > /sys/kernel/config/nvlab/nvlab-drill-host-power-ssd-3/serial
printf %s nqn.2026-11.io.nvlab:device:drill-host-power:ssd.3 > /sys/kernel/config/nvlab/nvlab-drill-host-power-ssd-3/subnqn
printf %s ssd > /sys/kernel/config/nvlab/nvlab-drill-host-power-ssd-3/kind
printf %s 2 > /sys/kernel/config/nvlab/nvlab-drill-host-power-ssd-3/medium/dies
printf %s 1 > /sys/kernel/config/nvlab/nvlab-drill-host-power-ssd-3/medium/planes
printf %s 8192 > /sys/kernel/config/nvlab/nvlab-drill-host-power-ssd-3/medium/blocks
printf %s 32768 > /sys/kernel/config/nvlab/nvlab-drill-host-power-ssd-3/medium/page_size
printf %s 2 > /sys/kernel/config/nvlab/nvlab-drill-host-power-ssd-3/medium/cell_bits
printf %s 1 > /sys/kernel/config/nvlab/nvlab-drill-host-power-ssd-3/medium/program_pages
printf %s 30013 > /sys/kernel/config/nvlab/nvlab-drill-host-power-ssd-3/medium/read_lsb
printf %s 42013 > /sys/kernel/config/nvlab/nvlab-drill-host-power-ssd-3/medium/read_msb
printf %s 20000000 > /sys/kernel/config/nvlab/nvlab-drill-host-power-ssd-3/medium/program_lsb
printf %s 20000000 > /sys/kernel/config/nvlab/nvlab-drill-host-power-ssd-3/medium/program_msb
printf %s 839 > /sys/kernel/config/nvlab/nvlab-drill-host-power-ssd-3/medium/channel_speed
printf %s 3523 > /sys/kernel/config/nvlab/nvlab-drill-host-power-ssd-3/medium/link_speed
printf %s 21500 > /sys/kernel/config/nvlab/nvlab-drill-host-power-ssd-3/medium/fw_read
printf %s 30490 > /sys/kernel/config/nvlab/nvlab-drill-host-power-ssd-3/medium/fw_read_large
printf %s 4000 > /sys/kernel/config/nvlab/nvlab-drill-host-power-ssd-3/medium/fw_write
printf %s 460 > /sys/kernel/config/nvlab/nvlab-drill-host-power-ssd-3/medium/fw_write_unit
printf %s 1 > /sys/kernel/config/nvlab/nvlab-drill-host-power-ssd-3/medium/plp
printf %s 4 > /sys/kernel/config/nvlab/nvlab-drill-host-power-ssd-3/medium/gc_low
printf %s 1 > /sys/kernel/config/nvlab/nvlab-drill-host-power-ssd-3/power
SSD_3_DEV=$(nvme_namespace nqn.2026-11.io.nvlab:device:drill-host-power:ssd.3 1)

# device.log
mkdir /sys/kernel/config/nvlab/nvlab-drill-host-power-log
printf %s 0x146600000 > /sys/kernel/config/nvlab/nvlab-drill-host-power-log/memmap_start
printf %s 34603008 > /sys/kernel/config/nvlab/nvlab-drill-host-power-log/memmap_size
printf %s 512 > /sys/kernel/config/nvlab/nvlab-drill-host-power-log/block_size
printf %s 1 > /sys/kernel/config/nvlab/nvlab-drill-host-power-log/vwc
printf %s dbde568839205949a68f > /sys/kernel/config/nvlab/nvlab-drill-host-power-log/serial
printf %s nqn.2026-11.io.nvlab:device:drill-host-power:log > /sys/kernel/config/nvlab/nvlab-drill-host-power-log/subnqn
printf %s ssd > /sys/kernel/config/nvlab/nvlab-drill-host-power-log/kind
printf %s 2 > /sys/kernel/config/nvlab/nvlab-drill-host-power-log/medium/dies
printf %s 1 > /sys/kernel/config/nvlab/nvlab-drill-host-power-log/medium/planes
printf %s 8192 > /sys/kernel/config/nvlab/nvlab-drill-host-power-log/medium/blocks
printf %s 32768 > /sys/kernel/config/nvlab/nvlab-drill-host-power-log/medium/page_size
printf %s 2 > /sys/kernel/config/nvlab/nvlab-drill-host-power-log/medium/cell_bits
printf %s 1 > /sys/kernel/config/nvlab/nvlab-drill-host-power-log/medium/program_pages
printf %s 30013 > /sys/kernel/config/nvlab/nvlab-drill-host-power-log/medium/read_lsb
printf %s 42013 > /sys/kernel/config/nvlab/nvlab-drill-host-power-log/medium/read_msb
printf %s 20000000 > /sys/kernel/config/nvlab/nvlab-drill-host-power-log/medium/program_lsb
printf %s 20000000 > /sys/kernel/config/nvlab/nvlab-drill-host-power-log/medium/program_msb
printf %s 839 > /sys/kernel/config/nvlab/nvlab-drill-host-power-log/medium/channel_speed
printf %s 3523 > /sys/kernel/config/nvlab/nvlab-drill-host-power-log/medium/link_speed
printf %s 21500 > /sys/kernel/config/nvlab/nvlab-drill-host-power-log/medium/fw_read
printf %s 30490 > /sys/kernel/config/nvlab/nvlab-drill-host-power-log/medium/fw_read_large
printf %s 4000 > /sys/kernel/config/nvlab/nvlab-drill-host-power-log/medium/fw_write
printf %s 460 > /sys/kernel/config/nvlab/nvlab-drill-host-power-log/medium/fw_write_unit
printf %s 4 > /sys/kernel/config/nvlab/nvlab-drill-host-power-log/medium/gc_low
printf %s 1 > /sys/kernel/config/nvlab/nvlab-drill-host-power-log/power
LOG_DEV=$(nvme_namespace nqn.2026-11.io.nvlab:device:drill-host-power:log 1)

# raid.md/ignore
mkdir -p /etc/mdadm/mdadm.conf.d
(set -C; printf '%s\n' 'ARRAY <ignore> UUID=beb87f69:8fc35754:a33bd2ea:6c9363a8' > /etc/mdadm/mdadm.conf.d/nvlab-nvlab-drill-host-power-md.conf)

# raid.md
MD_NUMBER=$(free_number md)
MD_DISCARD_LIMIT=$(discard_limit "$LOG_DEV")
printf %s 0 > "$MD_DISCARD_LIMIT"
mdadm --create "/dev/md$MD_NUMBER" --run --metadata=1.2 --homehost=nvlab --name=nvlab-drill-host-power-md --uuid=beb87f69:8fc35754:a33bd2ea:6c9363a8 --level=5 --raid-devices=3 --bitmap=none "--write-journal=$LOG_DEV" --assume-clean "$SSD_1_DEV" "$SSD_2_DEV" "$SSD_3_DEV"
printf %s write-back > "/sys/block/md$MD_NUMBER/md/journal_mode"
MD_DEV="/dev/md$MD_NUMBER"
MD_SECTORS=$(blockdev --getsz "$MD_DEV")

# cache.ram.fast
mkdir /sys/kernel/config/nullb/nvlab-drill-host-094a8f1e
printf %s 8 > /sys/kernel/config/nullb/nvlab-drill-host-094a8f1e/size
printf %s 512 > /sys/kernel/config/nullb/nvlab-drill-host-094a8f1e/blocksize
printf %s 1 > /sys/kernel/config/nullb/nvlab-drill-host-094a8f1e/memory_backed
printf %s 2 > /sys/kernel/config/nullb/nvlab-drill-host-094a8f1e/queue_mode
printf %s 1 > /sys/kernel/config/nullb/nvlab-drill-host-094a8f1e/irqmode
printf %s 1 > /sys/kernel/config/nullb/nvlab-drill-host-094a8f1e/power
RAM_FAST_DEV=/dev/nvlab-drill-host-094a8f1e

# cache.ram.meta
mkdir /sys/kernel/config/nullb/nvlab-drill-host-4565c343
printf %s 4 > /sys/kernel/config/nullb/nvlab-drill-host-4565c343/size
printf %s 512 > /sys/kernel/config/nullb/nvlab-drill-host-4565c343/blocksize
printf %s 1 > /sys/kernel/config/nullb/nvlab-drill-host-4565c343/memory_backed
printf %s 2 > /sys/kernel/config/nullb/nvlab-drill-host-4565c343/queue_mode
printf %s 1 > /sys/kernel/config/nullb/nvlab-drill-host-4565c343/irqmode
printf %s 1 > /sys/kernel/config/nullb/nvlab-drill-host-4565c343/power
RAM_META_DEV=/dev/nvlab-drill-host-4565c343

# cache.ram
dmsetup create nvlab-drill-host-power-ram --uuid NVLAB-c4455580-58c2-5424-9552-a2325532eb9b --table "0 $MD_SECTORS cache $RAM_META_DEV $RAM_FAST_DEV $MD_DEV 64 1 writethrough default 0"
SECONDS=0; until [ -b /dev/mapper/nvlab-drill-host-power-ram ]; do sleep 0.1; ((SECONDS < 60)); done
RAM_DEV=/dev/mapper/nvlab-drill-host-power-ram

# export.drive/host-1
mkdir /sys/kernel/config/nvmet/hosts/nqn.2026-11.io.nvlab:host:drill-host-power:client

# export.drive/subsystem
mkdir /sys/kernel/config/nvmet/subsystems/nqn.2026-11.io.nvlab:export:drill-host-power:drive
printf %s 15aee6cf4dac519d86ea > /sys/kernel/config/nvmet/subsystems/nqn.2026-11.io.nvlab:export:drill-host-power:drive/attr_serial
printf %s nvlab > /sys/kernel/config/nvmet/subsystems/nqn.2026-11.io.nvlab:export:drill-host-power:drive/attr_model
ln -s /sys/kernel/config/nvmet/hosts/nqn.2026-11.io.nvlab:host:drill-host-power:client /sys/kernel/config/nvmet/subsystems/nqn.2026-11.io.nvlab:export:drill-host-power:drive/allowed_hosts/nqn.2026-11.io.nvlab:host:drill-host-power:client
DRIVE_NQN=nqn.2026-11.io.nvlab:export:drill-host-power:drive

# export.drive/namespace-1
mkdir /sys/kernel/config/nvmet/subsystems/nqn.2026-11.io.nvlab:export:drill-host-power:drive/namespaces/1
printf %s "$RAM_DEV" > /sys/kernel/config/nvmet/subsystems/nqn.2026-11.io.nvlab:export:drill-host-power:drive/namespaces/1/device_path
printf %s 5c8ae1ad-e1aa-5ef7-a0e7-9f2551b63c92 > /sys/kernel/config/nvmet/subsystems/nqn.2026-11.io.nvlab:export:drill-host-power:drive/namespaces/1/device_uuid
printf %s 8470149a-400a-52e8-9d02-e2b2fc5f8bce > /sys/kernel/config/nvmet/subsystems/nqn.2026-11.io.nvlab:export:drill-host-power:drive/namespaces/1/device_nguid
printf %s 1 > /sys/kernel/config/nvmet/subsystems/nqn.2026-11.io.nvlab:export:drill-host-power:drive/namespaces/1/enable
SECONDS=0; until [ "$(cat /sys/kernel/config/nvmet/subsystems/nqn.2026-11.io.nvlab:export:drill-host-power:drive/namespaces/1/enable)" = 1 ]; do sleep 0.1; ((SECONDS < 60)); done

# export.drive/port
DRIVE_PORT_NUMBER=$(nvmet_port 127.0.0.1 4420)
if ! [ -d "/sys/kernel/config/nvmet/ports/$DRIVE_PORT_NUMBER" ]; then
    mkdir "/sys/kernel/config/nvmet/ports/$DRIVE_PORT_NUMBER"
    printf %s tcp > "/sys/kernel/config/nvmet/ports/$DRIVE_PORT_NUMBER/addr_trtype"
    printf %s ipv4 > "/sys/kernel/config/nvmet/ports/$DRIVE_PORT_NUMBER/addr_adrfam"
    printf %s 127.0.0.1 > "/sys/kernel/config/nvmet/ports/$DRIVE_PORT_NUMBER/addr_traddr"
    printf %s 4420 > "/sys/kernel/config/nvmet/ports/$DRIVE_PORT_NUMBER/addr_trsvcid"
fi

# export.drive
ln -s "/sys/kernel/config/nvmet/subsystems/$DRIVE_NQN" "/sys/kernel/config/nvmet/ports/$DRIVE_PORT_NUMBER/subsystems/$DRIVE_NQN"

# connect.client
CLIENT_QUEUES=$(io_queues 128)
exec 9<> /dev/nvme-fabrics; printf %s "transport=tcp,traddr=127.0.0.1,trsvcid=4420,nqn=$DRIVE_NQN,hostnqn=nqn.2026-11.io.nvlab:host:drill-host-power:client,hostid=df17b432-2367-5cdf-b5fe-521dbfcbe089,queue_size=128,keep_alive_tmo=5,reconnect_delay=2,ctrl_loss_tmo=30,nr_io_queues=$CLIENT_QUEUES" >&9; read -r _ <&9; exec 9>&-

# machine: power cut, at 50% of load
event_1() {
    printf %s 1 > /sys/kernel/config/nvlab/blackout
}

