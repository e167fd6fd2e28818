#!/bin/bash
# hybrid-nvme: The hybrid NVMe drive: a slow pool, a fast journal, a RAM read cache, over NVMe/TCP
#
# What `nvlab up` would do, without its care: this script keeps no journal, and nothing undoes it. Run it as root, in a guest
# that you can throw away. It stops at the first command that fails.
# It wants nvlab.ko in the current directory (nvlab kmod build --into .) and 263168K$0x140000000
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

# ! cache.ram: RapidDisk drops FLUSH and FUA: a flush through this cache does not reach the device below
# ! cache.ram: RapidDisk 9.0.0 logs 'scheduling while atomic' under parallel writes to one volume, and serialises them
# ! cache.ram: RapidDisk does not pass on the queue limits of the device below (block size, optimal I/O size)

# modules
modprobe --all configfs nvme raid456 rapiddisk rapiddisk-cache nvmet nvmet-tcp nvme-fabrics nvme-tcp
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
mkdir /sys/kernel/config/nvlab/nvlab-hybrid-nvme-log
printf %s 0x140000000 > /sys/kernel/config/nvlab/nvlab-hybrid-nvme-log/memmap_start
printf %s 269484032 > /sys/kernel/config/nvlab/nvlab-hybrid-nvme-log/memmap_size
printf %s 512 > /sys/kernel/config/nvlab/nvlab-hybrid-nvme-log/block_size
printf %s 1 > /sys/kernel/config/nvlab/nvlab-hybrid-nvme-log/vwc
printf %s b85469df25f15679bc70 > /sys/kernel/config/nvlab/nvlab-hybrid-nvme-log/serial
printf %s nqn.2026-11.io.nvlab:device:hybrid-nvme:log > /sys/kernel/config/nvlab/nvlab-hybrid-nvme-log/subnqn
printf %s 10293 > /sys/kernel/config/nvlab/nvlab-hybrid-nvme-log/read_delay
printf %s 1707 > /sys/kernel/config/nvlab/nvlab-hybrid-nvme-log/read_time
printf %s 11952 > /sys/kernel/config/nvlab/nvlab-hybrid-nvme-log/write_delay
printf %s 2048 > /sys/kernel/config/nvlab/nvlab-hybrid-nvme-log/write_time
printf %s 1 > /sys/kernel/config/nvlab/nvlab-hybrid-nvme-log/nr_io_units
printf %s 12 > /sys/kernel/config/nvlab/nvlab-hybrid-nvme-log/io_unit_shift
printf %s 1 > /sys/kernel/config/nvlab/nvlab-hybrid-nvme-log/power
LOG_DEV=$(nvme_namespace nqn.2026-11.io.nvlab:device:hybrid-nvme:log 1)

# disk.pool.1
mkdir /sys/kernel/config/nullb/nvlab-hybrid-nvme-pool-1
printf %s 128 > /sys/kernel/config/nullb/nvlab-hybrid-nvme-pool-1/size
printf %s 512 > /sys/kernel/config/nullb/nvlab-hybrid-nvme-pool-1/blocksize
printf %s 1 > /sys/kernel/config/nullb/nvlab-hybrid-nvme-pool-1/memory_backed
printf %s 2 > /sys/kernel/config/nullb/nvlab-hybrid-nvme-pool-1/queue_mode
printf %s 2 > /sys/kernel/config/nullb/nvlab-hybrid-nvme-pool-1/irqmode
printf %s 4000000 > /sys/kernel/config/nullb/nvlab-hybrid-nvme-pool-1/completion_nsec
printf %s 1 > /sys/kernel/config/nullb/nvlab-hybrid-nvme-pool-1/submit_queues
printf %s 64 > /sys/kernel/config/nullb/nvlab-hybrid-nvme-pool-1/hw_queue_depth
printf %s 1 > /sys/kernel/config/nullb/nvlab-hybrid-nvme-pool-1/power
POOL_1_DEV=/dev/nvlab-hybrid-nvme-pool-1

# disk.pool.2
mkdir /sys/kernel/config/nullb/nvlab-hybrid-nvme-pool-2
printf %s 128 > /sys/kernel/config/nullb/nvlab-hybrid-nvme-pool-2/size
printf %s 512 > /sys/kernel/config/nullb/nvlab-hybrid-nvme-pool-2/blocksize
printf %s 1 > /sys/kernel/config/nullb/nvlab-hybrid-nvme-pool-2/memory_backed
printf %s 2 > /sys/kernel/config/nullb/nvlab-hybrid-nvme-pool-2/queue_mode
printf %s 2 > /sys/kernel/config/nullb/nvlab-hybrid-nvme-pool-2/irqmode
printf %s 4000000 > /sys/kernel/config/nullb/nvlab-hybrid-nvme-pool-2/completion_nsec
printf %s 1 > /sys/kernel/config/nullb/nvlab-hybrid-nvme-pool-2/submit_queues
printf %s 64 > /sys/kernel/config/nullb/nvlab-hybrid-nvme-pool-2/hw_queue_depth
printf %s 1 > /sys/kernel/config/nullb/nvlab-hybrid-nvme-pool-2/power
POOL_2_DEV=/dev/nvlab-hybrid-nvme-pool-2

# disk.pool.3
mkdir /sys/kernel/config/nullb/nvlab-hybrid-nvme-pool-3
printf %s 128 > /sys/kernel/config/nullb/nvlab-hybrid-nvme-pool-3/size
printf %s 512 > /sys/kernel/config/nullb/nvlab-hybrid-nvme-pool-3/blocksize
printf %s 1 > /sys/kernel/config/nullb/nvlab-hybrid-nvme-pool-3/memory_backed
printf %s 2 > /sys/kernel/config/nullb/nvlab-hybrid-nvme-pool-3/queue_mode
printf %s 2 > /sys/kernel/config/nullb/nvlab-hybrid-nvme-pool-3/irqmode
printf %s 4000000 > /sys/kernel/config/nullb/nvlab-hybrid-nvme-pool-3/completion_nsec
printf %s 1 > /sys/kernel/config/nullb/nvlab-hybrid-nvme-pool-3/submit_queues
printf %s 64 > /sys/kernel/config/nullb/nvlab-hybrid-nvme-pool-3/hw_queue_depth
printf %s 1 > /sys/kernel/config/nullb/nvlab-hybrid-nvme-pool-3/power
POOL_3_DEV=/dev/nvlab-hybrid-nvme-pool-3

# disk.pool.4
mkdir /sys/kernel/config/nullb/nvlab-hybrid-nvme-pool-4
printf %s 128 > /sys/kernel/config/nullb/nvlab-hybrid-nvme-pool-4/size
printf %s 512 > /sys/kernel/config/nullb/nvlab-hybrid-nvme-pool-4/blocksize
printf %s 1 > /sys/kernel/config/nullb/nvlab-hybrid-nvme-pool-4/memory_backed
printf %s 2 > /sys/kernel/config/nullb/nvlab-hybrid-nvme-pool-4/queue_mode
printf %s 2 > /sys/kernel/config/nullb/nvlab-hybrid-nvme-pool-4/irqmode
printf %s 4000000 > /sys/kernel/config/nullb/nvlab-hybrid-nvme-pool-4/completion_nsec
printf %s 1 > /sys/kernel/config/nullb/nvlab-hybrid-nvme-pool-4/submit_queues
printf %s 64 > /sys/kernel/config/nullb/nvlab-hybrid-nvme-pool-4/hw_queue_depth
printf %s 1 > /sys/kernel/config/nullb/nvlab-hybrid-nvme-pool-4/power
POOL_4_DEV=/dev/nvlab-hybrid-nvme-pool-4

# disk.plain-pool.1
mkdir /sys/kernel/config/nullb/nvlab-hybrid-nvm-03eeadef
printf %s 128 > /sys/kernel/config/nullb/nvlab-hybrid-nvm-03eeadef/size
printf %s 512 > /sys/kernel/config/nullb/nvlab-hybrid-nvm-03eeadef/blocksize
printf %s 1 > /sys/kernel/config/nullb/nvlab-hybrid-nvm-03eeadef/memory_backed
printf %s 2 > /sys/kernel/config/nullb/nvlab-hybrid-nvm-03eeadef/queue_mode
printf %s 2 > /sys/kernel/config/nullb/nvlab-hybrid-nvm-03eeadef/irqmode
printf %s 4000000 > /sys/kernel/config/nullb/nvlab-hybrid-nvm-03eeadef/completion_nsec
printf %s 1 > /sys/kernel/config/nullb/nvlab-hybrid-nvm-03eeadef/submit_queues
printf %s 64 > /sys/kernel/config/nullb/nvlab-hybrid-nvm-03eeadef/hw_queue_depth
printf %s 1 > /sys/kernel/config/nullb/nvlab-hybrid-nvm-03eeadef/power
PLAIN_POOL_1_DEV=/dev/nvlab-hybrid-nvm-03eeadef

# disk.plain-pool.2
mkdir /sys/kernel/config/nullb/nvlab-hybrid-nvm-cd9bce14
printf %s 128 > /sys/kernel/config/nullb/nvlab-hybrid-nvm-cd9bce14/size
printf %s 512 > /sys/kernel/config/nullb/nvlab-hybrid-nvm-cd9bce14/blocksize
printf %s 1 > /sys/kernel/config/nullb/nvlab-hybrid-nvm-cd9bce14/memory_backed
printf %s 2 > /sys/kernel/config/nullb/nvlab-hybrid-nvm-cd9bce14/queue_mode
printf %s 2 > /sys/kernel/config/nullb/nvlab-hybrid-nvm-cd9bce14/irqmode
printf %s 4000000 > /sys/kernel/config/nullb/nvlab-hybrid-nvm-cd9bce14/completion_nsec
printf %s 1 > /sys/kernel/config/nullb/nvlab-hybrid-nvm-cd9bce14/submit_queues
printf %s 64 > /sys/kernel/config/nullb/nvlab-hybrid-nvm-cd9bce14/hw_queue_depth
printf %s 1 > /sys/kernel/config/nullb/nvlab-hybrid-nvm-cd9bce14/power
PLAIN_POOL_2_DEV=/dev/nvlab-hybrid-nvm-cd9bce14

# disk.plain-pool.3
mkdir /sys/kernel/config/nullb/nvlab-hybrid-nvm-efd78b69
printf %s 128 > /sys/kernel/config/nullb/nvlab-hybrid-nvm-efd78b69/size
printf %s 512 > /sys/kernel/config/nullb/nvlab-hybrid-nvm-efd78b69/blocksize
printf %s 1 > /sys/kernel/config/nullb/nvlab-hybrid-nvm-efd78b69/memory_backed
printf %s 2 > /sys/kernel/config/nullb/nvlab-hybrid-nvm-efd78b69/queue_mode
printf %s 2 > /sys/kernel/config/nullb/nvlab-hybrid-nvm-efd78b69/irqmode
printf %s 4000000 > /sys/kernel/config/nullb/nvlab-hybrid-nvm-efd78b69/completion_nsec
printf %s 1 > /sys/kernel/config/nullb/nvlab-hybrid-nvm-efd78b69/submit_queues
printf %s 64 > /sys/kernel/config/nullb/nvlab-hybrid-nvm-efd78b69/hw_queue_depth
printf %s 1 > /sys/kernel/config/nullb/nvlab-hybrid-nvm-efd78b69/power
PLAIN_POOL_3_DEV=/dev/nvlab-hybrid-nvm-efd78b69

# disk.plain-pool.4
mkdir /sys/kernel/config/nullb/nvlab-hybrid-nvm-62c7e870
printf %s 128 > /sys/kernel/config/nullb/nvlab-hybrid-nvm-62c7e870/size
printf %s 512 > /sys/kernel/config/nullb/nvlab-hybrid-nvm-62c7e870/blocksize
printf %s 1 > /sys/kernel/config/nullb/nvlab-hybrid-nvm-62c7e870/memory_backed
printf %s 2 > /sys/kernel/config/nullb/nvlab-hybrid-nvm-62c7e870/queue_mode
printf %s 2 > /sys/kernel/config/nullb/nvlab-hybrid-nvm-62c7e870/irqmode
printf %s 4000000 > /sys/kernel/config/nullb/nvlab-hybrid-nvm-62c7e870/completion_nsec
printf %s 1 > /sys/kernel/config/nullb/nvlab-hybrid-nvm-62c7e870/submit_queues
printf %s 64 > /sys/kernel/config/nullb/nvlab-hybrid-nvm-62c7e870/hw_queue_depth
printf %s 1 > /sys/kernel/config/nullb/nvlab-hybrid-nvm-62c7e870/power
PLAIN_POOL_4_DEV=/dev/nvlab-hybrid-nvm-62c7e870

# raid.md/ignore
mkdir -p /etc/mdadm/mdadm.conf.d
(set -C; printf '%s\n' 'ARRAY <ignore> UUID=d53b4c09:2138563c:b9b5e818:59a732da' > /etc/mdadm/mdadm.conf.d/nvlab-nvlab-hybrid-nvme-md.conf)

# raid.md
MD_NUMBER=$(free_number md)
MD_DISCARD_LIMIT=$(discard_limit "$LOG_DEV")
printf %s 0 > "$MD_DISCARD_LIMIT"
mdadm --create "/dev/md$MD_NUMBER" --run --metadata=1.2 --homehost=nvlab --name=nvlab-hybrid-nvme-md --uuid=d53b4c09:2138563c:b9b5e818:59a732da --level=5 --raid-devices=4 --bitmap=none "--write-journal=$LOG_DEV" --assume-clean "$POOL_1_DEV" "$POOL_2_DEV" "$POOL_3_DEV" "$POOL_4_DEV"
printf %s 4096 > "/sys/block/md$MD_NUMBER/md/stripe_cache_size"
printf %s write-back > "/sys/block/md$MD_NUMBER/md/journal_mode"
MD_DEV="/dev/md$MD_NUMBER"
MD_SECTORS=$(blockdev --getsz "$MD_DEV")

# raid.plain-md/ignore
mkdir -p /etc/mdadm/mdadm.conf.d
(set -C; printf '%s\n' 'ARRAY <ignore> UUID=40f55363:df7f5e9f:89a2b30f:62c94b9f' > /etc/mdadm/mdadm.conf.d/nvlab-nvlab-hybrid-nvme-plain-md.conf)

# raid.plain-md
PLAIN_MD_NUMBER=$(free_number md)
mdadm --create "/dev/md$PLAIN_MD_NUMBER" --run --metadata=1.2 --homehost=nvlab --name=nvlab-hybrid-nvme-plain-md --uuid=40f55363:df7f5e9f:89a2b30f:62c94b9f --level=5 --raid-devices=4 --bitmap=none --assume-clean "$PLAIN_POOL_1_DEV" "$PLAIN_POOL_2_DEV" "$PLAIN_POOL_3_DEV" "$PLAIN_POOL_4_DEV"
printf %s 4096 > "/sys/block/md$PLAIN_MD_NUMBER/md/stripe_cache_size"
PLAIN_MD_DEV="/dev/md$PLAIN_MD_NUMBER"

# cache.ram/volume
RAM_VOLUME_NUMBER=$(free_number rd)
printf '%s\n' "rapiddisk attach $RAM_VOLUME_NUMBER 67108864" > /sys/kernel/rapiddisk/mgmt
SECONDS=0; until [ -b "/dev/rd$RAM_VOLUME_NUMBER" ]; do sleep 0.1; ((SECONDS < 60)); done
RAM_VOLUME_DEV="/dev/rd$RAM_VOLUME_NUMBER"

# cache.ram
dmsetup create nvlab-hybrid-nvme-ram --uuid NVLAB-f17a48b3-7bcc-54a8-a377-506aabc63387 --table "0 $MD_SECTORS rapiddisk-cache $MD_DEV $RAM_VOLUME_DEV 131072 1"
SECONDS=0; until [ -b /dev/mapper/nvlab-hybrid-nvme-ram ]; do sleep 0.1; ((SECONDS < 60)); done
RAM_DEV=/dev/mapper/nvlab-hybrid-nvme-ram

# export.plain-drive/host-1
mkdir /sys/kernel/config/nvmet/hosts/nqn.2026-11.io.nvlab:host:hybrid-nvme:plain

# export.plain-drive/subsystem
mkdir /sys/kernel/config/nvmet/subsystems/nqn.2026-11.io.nvlab:export:hybrid-nvme:plain-drive
printf %s 86ba19e8b84152819469 > /sys/kernel/config/nvmet/subsystems/nqn.2026-11.io.nvlab:export:hybrid-nvme:plain-drive/attr_serial
printf %s nvlab > /sys/kernel/config/nvmet/subsystems/nqn.2026-11.io.nvlab:export:hybrid-nvme:plain-drive/attr_model
ln -s /sys/kernel/config/nvmet/hosts/nqn.2026-11.io.nvlab:host:hybrid-nvme:plain /sys/kernel/config/nvmet/subsystems/nqn.2026-11.io.nvlab:export:hybrid-nvme:plain-drive/allowed_hosts/nqn.2026-11.io.nvlab:host:hybrid-nvme:plain
PLAIN_DRIVE_NQN=nqn.2026-11.io.nvlab:export:hybrid-nvme:plain-drive

# export.plain-drive/namespace-1
mkdir /sys/kernel/config/nvmet/subsystems/nqn.2026-11.io.nvlab:export:hybrid-nvme:plain-drive/namespaces/1
printf %s "$PLAIN_MD_DEV" > /sys/kernel/config/nvmet/subsystems/nqn.2026-11.io.nvlab:export:hybrid-nvme:plain-drive/namespaces/1/device_path
printf %s ef13b8f5-7f8b-504b-a968-163988598ca1 > /sys/kernel/config/nvmet/subsystems/nqn.2026-11.io.nvlab:export:hybrid-nvme:plain-drive/namespaces/1/device_uuid
printf %s c1c13f23-0270-5086-9577-c4abaf427c82 > /sys/kernel/config/nvmet/subsystems/nqn.2026-11.io.nvlab:export:hybrid-nvme:plain-drive/namespaces/1/device_nguid
printf %s 1 > /sys/kernel/config/nvmet/subsystems/nqn.2026-11.io.nvlab:export:hybrid-nvme:plain-drive/namespaces/1/enable
SECONDS=0; until [ "$(cat /sys/kernel/config/nvmet/subsystems/nqn.2026-11.io.nvlab:export:hybrid-nvme:plain-drive/namespaces/1/enable)" = 1 ]; do sleep 0.1; ((SECONDS < 60)); done

# export.plain-drive/port
PLAIN_DRIVE_PORT_NUMBER=$(nvmet_port 127.0.0.1 4420)
if ! [ -d "/sys/kernel/config/nvmet/ports/$PLAIN_DRIVE_PORT_NUMBER" ]; then
    mkdir "/sys/kernel/config/nvmet/ports/$PLAIN_DRIVE_PORT_NUMBER"
    printf %s tcp > "/sys/kernel/config/nvmet/ports/$PLAIN_DRIVE_PORT_NUMBER/addr_trtype"
    printf %s ipv4 > "/sys/kernel/config/nvmet/ports/$PLAIN_DRIVE_PORT_NUMBER/addr_adrfam"
    printf %s 127.0.0.1 > "/sys/kernel/config/nvmet/ports/$PLAIN_DRIVE_PORT_NUMBER/addr_traddr"
    printf %s 4420 > "/sys/kernel/config/nvmet/ports/$PLAIN_DRIVE_PORT_NUMBER/addr_trsvcid"
fi

# export.plain-drive
ln -s "/sys/kernel/config/nvmet/subsystems/$PLAIN_DRIVE_NQN" "/sys/kernel/config/nvmet/ports/$PLAIN_DRIVE_PORT_NUMBER/subsystems/$PLAIN_DRIVE_NQN"

# export.drive/host-1
mkdir /sys/kernel/config/nvmet/hosts/nqn.2026-11.io.nvlab:host:hybrid-nvme:client

# export.drive/subsystem
mkdir /sys/kernel/config/nvmet/subsystems/nqn.2026-11.io.nvlab:export:hybrid-nvme:drive
printf %s be0134016ef05e1da793 > /sys/kernel/config/nvmet/subsystems/nqn.2026-11.io.nvlab:export:hybrid-nvme:drive/attr_serial
printf %s nvlab > /sys/kernel/config/nvmet/subsystems/nqn.2026-11.io.nvlab:export:hybrid-nvme:drive/attr_model
ln -s /sys/kernel/config/nvmet/hosts/nqn.2026-11.io.nvlab:host:hybrid-nvme:client /sys/kernel/config/nvmet/subsystems/nqn.2026-11.io.nvlab:export:hybrid-nvme:drive/allowed_hosts/nqn.2026-11.io.nvlab:host:hybrid-nvme:client
DRIVE_NQN=nqn.2026-11.io.nvlab:export:hybrid-nvme:drive

# export.drive/namespace-1
mkdir /sys/kernel/config/nvmet/subsystems/nqn.2026-11.io.nvlab:export:hybrid-nvme:drive/namespaces/1
printf %s "$RAM_DEV" > /sys/kernel/config/nvmet/subsystems/nqn.2026-11.io.nvlab:export:hybrid-nvme:drive/namespaces/1/device_path
printf %s ea05d609-7dae-55bc-9eb7-e5bc6d8aa002 > /sys/kernel/config/nvmet/subsystems/nqn.2026-11.io.nvlab:export:hybrid-nvme:drive/namespaces/1/device_uuid
printf %s 1ad42a4f-6f1c-5d2f-8436-4a8279fd4af0 > /sys/kernel/config/nvmet/subsystems/nqn.2026-11.io.nvlab:export:hybrid-nvme:drive/namespaces/1/device_nguid
printf %s 1 > /sys/kernel/config/nvmet/subsystems/nqn.2026-11.io.nvlab:export:hybrid-nvme:drive/namespaces/1/enable
SECONDS=0; until [ "$(cat /sys/kernel/config/nvmet/subsystems/nqn.2026-11.io.nvlab:export:hybrid-nvme:drive/namespaces/1/enable)" = 1 ]; do sleep 0.1; ((SECONDS < 60)); done

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

# connect.plain
PLAIN_QUEUES=$(io_queues 128)
exec 9<> /dev/nvme-fabrics; printf %s "transport=tcp,traddr=127.0.0.1,trsvcid=4420,nqn=$PLAIN_DRIVE_NQN,hostnqn=nqn.2026-11.io.nvlab:host:hybrid-nvme:plain,hostid=9ce1d268-a50b-5647-8208-251a4b21b246,queue_size=128,keep_alive_tmo=5,reconnect_delay=2,ctrl_loss_tmo=30,nr_io_queues=$PLAIN_QUEUES" >&9; read -r _ <&9; exec 9>&-

# connect.client
CLIENT_QUEUES=$(io_queues 128)
exec 9<> /dev/nvme-fabrics; printf %s "transport=tcp,traddr=127.0.0.1,trsvcid=4420,nqn=$DRIVE_NQN,hostnqn=nqn.2026-11.io.nvlab:host:hybrid-nvme:client,hostid=6c36f0f2-daac-5179-8ceb-96e666c16e2d,queue_size=128,keep_alive_tmo=5,reconnect_delay=2,ctrl_loss_tmo=30,nr_io_queues=$CLIENT_QUEUES" >&9; read -r _ <&9; exec 9>&-

