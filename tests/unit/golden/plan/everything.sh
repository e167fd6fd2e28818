#!/bin/bash
# everything: Every layer, for the tests
#
# What `nvlab up` would do, without its care: this script keeps no journal, and nothing undoes it. Run it as root, in a guest
# that you can throw away. It stops at the first command that fails.
# It wants nvlab.ko in the current directory (nvlab kmod build --into .) and 66560K$0x140000000 and 66560K$0x144200000
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

# The node of partition $2 of the disk $1.
partition_node() {
    case $1 in
        *[0-9]) echo "$1p$2" ;;
        *) echo "$1$2" ;;
    esac
}

# How many I/O queues: at most $1, and no more than there are CPUs that are not isolated.
io_queues() {
    local cpus
    cpus=$(nproc)
    echo $((cpus < $1 ? cpus : $1))
}

# ! cache.ram: RapidDisk drops FLUSH and FUA: a flush through this cache does not reach the device below
# ! cache.ram: RapidDisk 9.0.0 logs 'scheduling while atomic' under parallel writes to one volume, and serialises them
# ! cache.ram: RapidDisk does not pass on the queue limits of the device below (block size, optimal I/O size)

# modules
modprobe --all configfs nvme loop veth sch_netem raid456 raid1 rapiddisk rapiddisk-cache nvmet nvmet-tcp nvme-fabrics nvme-tcp ext4
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
mkdir /sys/kernel/config/nvlab/nvlab-everything-log
printf %s 0x140000000 > /sys/kernel/config/nvlab/nvlab-everything-log/memmap_start
printf %s 68157440 > /sys/kernel/config/nvlab/nvlab-everything-log/memmap_size
printf %s 512 > /sys/kernel/config/nvlab/nvlab-everything-log/block_size
printf %s 1 > /sys/kernel/config/nvlab/nvlab-everything-log/vwc
printf %s ede50a82d08c5ef1a1f9 > /sys/kernel/config/nvlab/nvlab-everything-log/serial
printf %s nqn.2026-11.io.nvlab:device:everything:log > /sys/kernel/config/nvlab/nvlab-everything-log/subnqn
printf %s 10293 > /sys/kernel/config/nvlab/nvlab-everything-log/read_delay
printf %s 1707 > /sys/kernel/config/nvlab/nvlab-everything-log/read_time
printf %s 11952 > /sys/kernel/config/nvlab/nvlab-everything-log/write_delay
printf %s 2048 > /sys/kernel/config/nvlab/nvlab-everything-log/write_time
printf %s 1 > /sys/kernel/config/nvlab/nvlab-everything-log/nr_io_units
printf %s 12 > /sys/kernel/config/nvlab/nvlab-everything-log/io_unit_shift
printf %s 1 > /sys/kernel/config/nvlab/nvlab-everything-log/power
LOG_DEV=$(nvme_namespace nqn.2026-11.io.nvlab:device:everything:log 1)

# device.ssd
mkdir /sys/kernel/config/nvlab/nvlab-everything-ssd
printf %s 0x144200000 > /sys/kernel/config/nvlab/nvlab-everything-ssd/memmap_start
printf %s 68157440 > /sys/kernel/config/nvlab/nvlab-everything-ssd/memmap_size
printf %s 4096 > /sys/kernel/config/nvlab/nvlab-everything-ssd/block_size
printf %s 0 > /sys/kernel/config/nvlab/nvlab-everything-ssd/vwc
printf %s c439fce4cfc35f03bf12 > /sys/kernel/config/nvlab/nvlab-everything-ssd/serial
printf %s nqn.2026-11.io.nvlab:device:everything:ssd > /sys/kernel/config/nvlab/nvlab-everything-ssd/subnqn
printf %s 0 > /sys/kernel/config/nvlab/nvlab-everything-ssd/read_delay
printf %s 0 > /sys/kernel/config/nvlab/nvlab-everything-ssd/read_time
printf %s 0 > /sys/kernel/config/nvlab/nvlab-everything-ssd/write_delay
printf %s 0 > /sys/kernel/config/nvlab/nvlab-everything-ssd/write_time
printf %s 8 > /sys/kernel/config/nvlab/nvlab-everything-ssd/nr_io_units
printf %s 12 > /sys/kernel/config/nvlab/nvlab-everything-ssd/io_unit_shift
printf %s 4096 > /sys/kernel/config/nvlab/nvlab-everything-ssd/trace
printf %s 0 > /sys/kernel/config/nvlab/nvlab-everything-ssd/trace_lossless
printf %s 1 > /sys/kernel/config/nvlab/nvlab-everything-ssd/power
SSD_DEV=$(nvme_namespace nqn.2026-11.io.nvlab:device:everything:ssd 1)

# disk.pool.1
mkdir /sys/kernel/config/nullb/nvlab-everything-pool-1
printf %s 64 > /sys/kernel/config/nullb/nvlab-everything-pool-1/size
printf %s 512 > /sys/kernel/config/nullb/nvlab-everything-pool-1/blocksize
printf %s 1 > /sys/kernel/config/nullb/nvlab-everything-pool-1/memory_backed
printf %s 2 > /sys/kernel/config/nullb/nvlab-everything-pool-1/queue_mode
printf %s 1 > /sys/kernel/config/nullb/nvlab-everything-pool-1/irqmode
printf %s 0 > /sys/kernel/config/nullb/nvlab-everything-pool-1/completion_nsec
printf %s 1 > /sys/kernel/config/nullb/nvlab-everything-pool-1/submit_queues
printf %s 64 > /sys/kernel/config/nullb/nvlab-everything-pool-1/hw_queue_depth
printf %s 1 > /sys/kernel/config/nullb/nvlab-everything-pool-1/power
POOL_1_DEV=/dev/nvlab-everything-pool-1

# disk.pool.2
mkdir /sys/kernel/config/nullb/nvlab-everything-pool-2
printf %s 64 > /sys/kernel/config/nullb/nvlab-everything-pool-2/size
printf %s 512 > /sys/kernel/config/nullb/nvlab-everything-pool-2/blocksize
printf %s 1 > /sys/kernel/config/nullb/nvlab-everything-pool-2/memory_backed
printf %s 2 > /sys/kernel/config/nullb/nvlab-everything-pool-2/queue_mode
printf %s 1 > /sys/kernel/config/nullb/nvlab-everything-pool-2/irqmode
printf %s 0 > /sys/kernel/config/nullb/nvlab-everything-pool-2/completion_nsec
printf %s 1 > /sys/kernel/config/nullb/nvlab-everything-pool-2/submit_queues
printf %s 64 > /sys/kernel/config/nullb/nvlab-everything-pool-2/hw_queue_depth
printf %s 1 > /sys/kernel/config/nullb/nvlab-everything-pool-2/power
POOL_2_DEV=/dev/nvlab-everything-pool-2

# disk.pool.3
mkdir /sys/kernel/config/nullb/nvlab-everything-pool-3
printf %s 64 > /sys/kernel/config/nullb/nvlab-everything-pool-3/size
printf %s 512 > /sys/kernel/config/nullb/nvlab-everything-pool-3/blocksize
printf %s 1 > /sys/kernel/config/nullb/nvlab-everything-pool-3/memory_backed
printf %s 2 > /sys/kernel/config/nullb/nvlab-everything-pool-3/queue_mode
printf %s 1 > /sys/kernel/config/nullb/nvlab-everything-pool-3/irqmode
printf %s 0 > /sys/kernel/config/nullb/nvlab-everything-pool-3/completion_nsec
printf %s 1 > /sys/kernel/config/nullb/nvlab-everything-pool-3/submit_queues
printf %s 64 > /sys/kernel/config/nullb/nvlab-everything-pool-3/hw_queue_depth
printf %s 1 > /sys/kernel/config/nullb/nvlab-everything-pool-3/power
POOL_3_DEV=/dev/nvlab-everything-pool-3

# disk.file
mkdir -p /var/lib/nvlab/disks
(set -C; : > /var/lib/nvlab/disks/nvlab-everything-file.img); truncate -s 67108864 /var/lib/nvlab/disks/nvlab-everything-file.img
losetup --find /var/lib/nvlab/disks/nvlab-everything-file.img
FILE_DISK_DEV=$(losetup --noheadings --output NAME --associated /var/lib/nvlab/disks/nvlab-everything-file.img)

# disk.file/gpt
FILE_NODE=$(partition_node "$FILE_DISK_DEV" 1)
sgdisk --disk-guid=514f3008-f253-5fad-a051-93cf769a137d --new=1:0:0 --partition-guid=1:cee3bc8b-b9d7-5ae7-9906-626861571bb9 "$FILE_DISK_DEV"
partx --update "$FILE_DISK_DEV"
SECONDS=0; until [ -b "$FILE_NODE" ]; do sleep 0.1; ((SECONDS < 60)); done
FILE_DEV="$FILE_NODE"

# wire.net
mkdir -p /run/nvlab/net
(set -C; : > /run/nvlab/net/nvlab-everything-net); truncate -s 0 /run/nvlab/net/nvlab-everything-net
unshare --net=/run/nvlab/net/nvlab-everything-net true
ip link add nvlab--a2275d39 address 02:0e:b4:b3:97:27 mtu 9000 gso_max_segs 1 type veth peer name wire address 02:94:ca:04:53:94 mtu 9000 gso_max_segs 1 netns /run/nvlab/net/nvlab-everything-net
tc qdisc add dev nvlab--a2275d39 root netem limit 1000000 delay 20us rate 10000mbit 24
ip address add 198.19.30.201/30 dev nvlab--a2275d39
ip link set nvlab--a2275d39 up
nsenter --net=/run/nvlab/net/nvlab-everything-net tc qdisc add dev wire root netem limit 1000000 delay 20us rate 10000mbit 24
nsenter --net=/run/nvlab/net/nvlab-everything-net ip address add 198.19.30.202/30 dev wire
nsenter --net=/run/nvlab/net/nvlab-everything-net ip link set wire up
NET_NETNS=/run/nvlab/net/nvlab-everything-net
NET_FAR=198.19.30.202

# raid.md/ignore
mkdir -p /etc/mdadm/mdadm.conf.d
(set -C; printf '%s\n' 'ARRAY <ignore> UUID=752ce995:a66358e3:974b8992:41caf5dc' > /etc/mdadm/mdadm.conf.d/nvlab-nvlab-everything-md.conf)

# raid.md
MD_NUMBER=$(free_number md)
MD_DISCARD_LIMIT=$(discard_limit "$LOG_DEV")
printf %s 0 > "$MD_DISCARD_LIMIT"
mdadm --create "/dev/md$MD_NUMBER" --run --metadata=1.2 --homehost=nvlab --name=nvlab-everything-md --uuid=752ce995:a66358e3:974b8992:41caf5dc --level=5 --raid-devices=3 --bitmap=none "--write-journal=$LOG_DEV" --assume-clean "$POOL_1_DEV" "$POOL_2_DEV" "$POOL_3_DEV"
printf %s write-back > "/sys/block/md$MD_NUMBER/md/journal_mode"
MD_DEV="/dev/md$MD_NUMBER"
MD_SECTORS=$(blockdev --getsz "$MD_DEV")

# raid.mirror/ignore
mkdir -p /etc/mdadm/mdadm.conf.d
(set -C; printf '%s\n' 'ARRAY <ignore> UUID=0b967524:8dca503f:82a11b2a:9f23fa5c' > /etc/mdadm/mdadm.conf.d/nvlab-nvlab-everything-mirror.conf)

# raid.mirror
MIRROR_NUMBER=$(free_number md)
mdadm --create "/dev/md$MIRROR_NUMBER" --run --metadata=1.2 --homehost=nvlab --name=nvlab-everything-mirror --uuid=0b967524:8dca503f:82a11b2a:9f23fa5c --level=1 --raid-devices=2 --bitmap=none "$SSD_DEV" "$FILE_DEV"
SECONDS=0; until [ "$(cat "/sys/block/md$MIRROR_NUMBER/md/resync_start")" = none ] && [ "$(cat "/sys/block/md$MIRROR_NUMBER/md/sync_action")" = idle ] && [ "$(cat "/sys/block/md$MIRROR_NUMBER/md/degraded")" = 0 ]; do sleep 0.1; ((SECONDS < 600)); done
MIRROR_DEV="/dev/md$MIRROR_NUMBER"

# cache.ram/volume
RAM_VOLUME_NUMBER=$(free_number rd)
printf '%s\n' "rapiddisk attach $RAM_VOLUME_NUMBER 16777216" > /sys/kernel/rapiddisk/mgmt
SECONDS=0; until [ -b "/dev/rd$RAM_VOLUME_NUMBER" ]; do sleep 0.1; ((SECONDS < 60)); done
RAM_VOLUME_DEV="/dev/rd$RAM_VOLUME_NUMBER"

# cache.ram
dmsetup create nvlab-everything-ram --uuid NVLAB-0db1e342-a1b3-5ad3-969c-07d20c7a031e --table "0 $MD_SECTORS rapiddisk-cache $MD_DEV $RAM_VOLUME_DEV 32768 0"
SECONDS=0; until [ -b /dev/mapper/nvlab-everything-ram ]; do sleep 0.1; ((SECONDS < 60)); done
RAM_DEV=/dev/mapper/nvlab-everything-ram

# export.drive/host-1
mkdir /sys/kernel/config/nvmet/hosts/nqn.2026-11.io.nvlab:host:everything:client

# export.drive/subsystem
mkdir /sys/kernel/config/nvmet/subsystems/nqn.2026-11.io.nvlab:export:everything:drive
printf %s 8c1be7df55d85262922f > /sys/kernel/config/nvmet/subsystems/nqn.2026-11.io.nvlab:export:everything:drive/attr_serial
printf %s nvlab > /sys/kernel/config/nvmet/subsystems/nqn.2026-11.io.nvlab:export:everything:drive/attr_model
ln -s /sys/kernel/config/nvmet/hosts/nqn.2026-11.io.nvlab:host:everything:client /sys/kernel/config/nvmet/subsystems/nqn.2026-11.io.nvlab:export:everything:drive/allowed_hosts/nqn.2026-11.io.nvlab:host:everything:client
DRIVE_NQN=nqn.2026-11.io.nvlab:export:everything:drive

# export.drive/namespace-1
mkdir /sys/kernel/config/nvmet/subsystems/nqn.2026-11.io.nvlab:export:everything:drive/namespaces/1
printf %s "$RAM_DEV" > /sys/kernel/config/nvmet/subsystems/nqn.2026-11.io.nvlab:export:everything:drive/namespaces/1/device_path
printf %s 3ddeb203-278c-58b9-bd89-4f9ad7eac896 > /sys/kernel/config/nvmet/subsystems/nqn.2026-11.io.nvlab:export:everything:drive/namespaces/1/device_uuid
printf %s 567f5760-7e29-5a92-995e-cc9628b90651 > /sys/kernel/config/nvmet/subsystems/nqn.2026-11.io.nvlab:export:everything:drive/namespaces/1/device_nguid
printf %s 1 > /sys/kernel/config/nvmet/subsystems/nqn.2026-11.io.nvlab:export:everything:drive/namespaces/1/enable
SECONDS=0; until [ "$(cat /sys/kernel/config/nvmet/subsystems/nqn.2026-11.io.nvlab:export:everything:drive/namespaces/1/enable)" = 1 ]; do sleep 0.1; ((SECONDS < 60)); done

# export.drive/namespace-2
mkdir /sys/kernel/config/nvmet/subsystems/nqn.2026-11.io.nvlab:export:everything:drive/namespaces/2
printf %s "$MIRROR_DEV" > /sys/kernel/config/nvmet/subsystems/nqn.2026-11.io.nvlab:export:everything:drive/namespaces/2/device_path
printf %s cfbeafe6-c4d2-5fce-bcea-cc5404e2403d > /sys/kernel/config/nvmet/subsystems/nqn.2026-11.io.nvlab:export:everything:drive/namespaces/2/device_uuid
printf %s 2debf265-7282-5b7a-960e-79ab219ef54c > /sys/kernel/config/nvmet/subsystems/nqn.2026-11.io.nvlab:export:everything:drive/namespaces/2/device_nguid
printf %s 1 > /sys/kernel/config/nvmet/subsystems/nqn.2026-11.io.nvlab:export:everything:drive/namespaces/2/enable
SECONDS=0; until [ "$(cat /sys/kernel/config/nvmet/subsystems/nqn.2026-11.io.nvlab:export:everything:drive/namespaces/2/enable)" = 1 ]; do sleep 0.1; ((SECONDS < 60)); done

# export.drive/port
DRIVE_PORT_NUMBER=$(nvmet_port "$NET_FAR" 4420)
if ! [ -d "/sys/kernel/config/nvmet/ports/$DRIVE_PORT_NUMBER" ]; then
    mkdir "/sys/kernel/config/nvmet/ports/$DRIVE_PORT_NUMBER"
    printf %s tcp > "/sys/kernel/config/nvmet/ports/$DRIVE_PORT_NUMBER/addr_trtype"
    printf %s ipv4 > "/sys/kernel/config/nvmet/ports/$DRIVE_PORT_NUMBER/addr_adrfam"
    printf %s "$NET_FAR" > "/sys/kernel/config/nvmet/ports/$DRIVE_PORT_NUMBER/addr_traddr"
    printf %s 4420 > "/sys/kernel/config/nvmet/ports/$DRIVE_PORT_NUMBER/addr_trsvcid"
fi

# export.drive
nsenter "--net=$NET_NETNS" ln -s "/sys/kernel/config/nvmet/subsystems/$DRIVE_NQN" "/sys/kernel/config/nvmet/ports/$DRIVE_PORT_NUMBER/subsystems/$DRIVE_NQN"

# connect.client
CLIENT_QUEUES=$(io_queues 128)
exec 9<> /dev/nvme-fabrics; printf %s "transport=tcp,traddr=$NET_FAR,trsvcid=4420,nqn=$DRIVE_NQN,hostnqn=nqn.2026-11.io.nvlab:host:everything:client,hostid=8bd1d155-ae8c-5ab9-ba26-e6396d57b5b5,queue_size=128,keep_alive_tmo=5,reconnect_delay=2,ctrl_loss_tmo=30,nr_io_queues=$CLIENT_QUEUES" >&9; read -r _ <&9; exec 9>&-
CLIENT_DEV=$(nvme_namespace "$DRIVE_NQN" 1)

# filesystem.data/mkfs
mkfs.ext4 -q -E lazy_itable_init=0,lazy_journal_init=0 -U 9c10f695-5922-5385-a2ab-3e2324ebb6cb "$CLIENT_DEV"

# filesystem.data
mkdir -p /run/nvlab/mnt/nvlab-everything-data
mount -t ext4 -o noatime,nodev,nosuid "$CLIENT_DEV" /run/nvlab/mnt/nvlab-everything-data

# device.ssd/fault-slow
mkdir /sys/kernel/config/nvlab/nvlab-everything-ssd/faults/slow
printf %s delay > /sys/kernel/config/nvlab/nvlab-everything-ssd/faults/slow/action
printf %s write > /sys/kernel/config/nvlab/nvlab-everything-ssd/faults/slow/opcode
printf %s 0 > /sys/kernel/config/nvlab/nvlab-everything-ssd/faults/slow/slba
printf %s 0 > /sys/kernel/config/nvlab/nvlab-everything-ssd/faults/slow/nlb
printf %s 0 > /sys/kernel/config/nvlab/nvlab-everything-ssd/faults/slow/nsid
printf %s 0 > /sys/kernel/config/nvlab/nvlab-everything-ssd/faults/slow/queue
printf %s 0 > /sys/kernel/config/nvlab/nvlab-everything-ssd/faults/slow/controller
printf %s 1 > /sys/kernel/config/nvlab/nvlab-everything-ssd/faults/slow/every
printf %s 0 > /sys/kernel/config/nvlab/nvlab-everything-ssd/faults/slow/count
printf %s 10000 > /sys/kernel/config/nvlab/nvlab-everything-ssd/faults/slow/chance
printf %s 1000000 > /sys/kernel/config/nvlab/nvlab-everything-ssd/faults/slow/delay
printf %s 1 > /sys/kernel/config/nvlab/nvlab-everything-ssd/faults/slow/enable

