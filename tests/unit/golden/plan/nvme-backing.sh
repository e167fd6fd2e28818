#!/bin/bash
# nvme-backing: RAID 5 over four virtual NVMe devices, over NVMe/TCP
#
# What `nvlab up` would do, without its care: this script keeps no journal, and nothing undoes it. Run it as root, in a guest
# that you can throw away. It stops at the first command that fails.
# It wants nvlab.ko in the current directory (nvlab kmod build --into .) and 132096K$0x140000000 and 132096K$0x148200000 and 132096K$0x150400000 and 132096K$0x158600000
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
modprobe --all configfs nvme raid456 nvmet nvmet-tcp nvme-fabrics nvme-tcp

# configfs
if ! mountpoint -q /sys/kernel/config; then
    mount -t configfs configfs /sys/kernel/config
fi

# device/module
if ! [ -d /sys/module/nvlab ]; then
    insmod nvlab.ko
fi

# device.ssd.1
mkdir /sys/kernel/config/nvlab/nvlab-nvme-backing-ssd-1
printf %s 0x140000000 > /sys/kernel/config/nvlab/nvlab-nvme-backing-ssd-1/memmap_start
printf %s 135266304 > /sys/kernel/config/nvlab/nvlab-nvme-backing-ssd-1/memmap_size
printf %s 512 > /sys/kernel/config/nvlab/nvlab-nvme-backing-ssd-1/block_size
printf %s 0 > /sys/kernel/config/nvlab/nvlab-nvme-backing-ssd-1/vwc
printf %s 63501a22d8f15a66aece > /sys/kernel/config/nvlab/nvlab-nvme-backing-ssd-1/serial
printf %s nqn.2026-11.io.nvlab:device:nvme-backing:ssd.1 > /sys/kernel/config/nvlab/nvlab-nvme-backing-ssd-1/subnqn
printf %s 10293 > /sys/kernel/config/nvlab/nvlab-nvme-backing-ssd-1/read_delay
printf %s 1707 > /sys/kernel/config/nvlab/nvlab-nvme-backing-ssd-1/read_time
printf %s 11952 > /sys/kernel/config/nvlab/nvlab-nvme-backing-ssd-1/write_delay
printf %s 2048 > /sys/kernel/config/nvlab/nvlab-nvme-backing-ssd-1/write_time
printf %s 1 > /sys/kernel/config/nvlab/nvlab-nvme-backing-ssd-1/nr_io_units
printf %s 12 > /sys/kernel/config/nvlab/nvlab-nvme-backing-ssd-1/io_unit_shift
printf %s 1 > /sys/kernel/config/nvlab/nvlab-nvme-backing-ssd-1/power
SSD_1_DEV=$(nvme_namespace nqn.2026-11.io.nvlab:device:nvme-backing:ssd.1 1)

# device.ssd.2
mkdir /sys/kernel/config/nvlab/nvlab-nvme-backing-ssd-2
printf %s 0x148200000 > /sys/kernel/config/nvlab/nvlab-nvme-backing-ssd-2/memmap_start
printf %s 135266304 > /sys/kernel/config/nvlab/nvlab-nvme-backing-ssd-2/memmap_size
printf %s 512 > /sys/kernel/config/nvlab/nvlab-nvme-backing-ssd-2/block_size
printf %s 0 > /sys/kernel/config/nvlab/nvlab-nvme-backing-ssd-2/vwc
printf %s a50b5f9b15d85972af37 > /sys/kernel/config/nvlab/nvlab-nvme-backing-ssd-2/serial
printf %s nqn.2026-11.io.nvlab:device:nvme-backing:ssd.2 > /sys/kernel/config/nvlab/nvlab-nvme-backing-ssd-2/subnqn
printf %s 10293 > /sys/kernel/config/nvlab/nvlab-nvme-backing-ssd-2/read_delay
printf %s 1707 > /sys/kernel/config/nvlab/nvlab-nvme-backing-ssd-2/read_time
printf %s 11952 > /sys/kernel/config/nvlab/nvlab-nvme-backing-ssd-2/write_delay
printf %s 2048 > /sys/kernel/config/nvlab/nvlab-nvme-backing-ssd-2/write_time
printf %s 1 > /sys/kernel/config/nvlab/nvlab-nvme-backing-ssd-2/nr_io_units
printf %s 12 > /sys/kernel/config/nvlab/nvlab-nvme-backing-ssd-2/io_unit_shift
printf %s 1 > /sys/kernel/config/nvlab/nvlab-nvme-backing-ssd-2/power
SSD_2_DEV=$(nvme_namespace nqn.2026-11.io.nvlab:device:nvme-backing:ssd.2 1)

# device.ssd.3
mkdir /sys/kernel/config/nvlab/nvlab-nvme-backing-ssd-3
printf %s 0x150400000 > /sys/kernel/config/nvlab/nvlab-nvme-backing-ssd-3/memmap_start
printf %s 135266304 > /sys/kernel/config/nvlab/nvlab-nvme-backing-ssd-3/memmap_size
printf %s 512 > /sys/kernel/config/nvlab/nvlab-nvme-backing-ssd-3/block_size
printf %s 0 > /sys/kernel/config/nvlab/nvlab-nvme-backing-ssd-3/vwc
printf %s 96f2be9d96f05d2497e1 > /sys/kernel/config/nvlab/nvlab-nvme-backing-ssd-3/serial
printf %s nqn.2026-11.io.nvlab:device:nvme-backing:ssd.3 > /sys/kernel/config/nvlab/nvlab-nvme-backing-ssd-3/subnqn
printf %s 10293 > /sys/kernel/config/nvlab/nvlab-nvme-backing-ssd-3/read_delay
printf %s 1707 > /sys/kernel/config/nvlab/nvlab-nvme-backing-ssd-3/read_time
printf %s 11952 > /sys/kernel/config/nvlab/nvlab-nvme-backing-ssd-3/write_delay
printf %s 2048 > /sys/kernel/config/nvlab/nvlab-nvme-backing-ssd-3/write_time
printf %s 1 > /sys/kernel/config/nvlab/nvlab-nvme-backing-ssd-3/nr_io_units
printf %s 12 > /sys/kernel/config/nvlab/nvlab-nvme-backing-ssd-3/io_unit_shift
printf %s 1 > /sys/kernel/config/nvlab/nvlab-nvme-backing-ssd-3/power
SSD_3_DEV=$(nvme_namespace nqn.2026-11.io.nvlab:device:nvme-backing:ssd.3 1)

# device.ssd.4
mkdir /sys/kernel/config/nvlab/nvlab-nvme-backing-ssd-4
printf %s 0x158600000 > /sys/kernel/config/nvlab/nvlab-nvme-backing-ssd-4/memmap_start
printf %s 135266304 > /sys/kernel/config/nvlab/nvlab-nvme-backing-ssd-4/memmap_size
printf %s 512 > /sys/kernel/config/nvlab/nvlab-nvme-backing-ssd-4/block_size
printf %s 0 > /sys/kernel/config/nvlab/nvlab-nvme-backing-ssd-4/vwc
printf %s 711c581bf71356e69c31 > /sys/kernel/config/nvlab/nvlab-nvme-backing-ssd-4/serial
printf %s nqn.2026-11.io.nvlab:device:nvme-backing:ssd.4 > /sys/kernel/config/nvlab/nvlab-nvme-backing-ssd-4/subnqn
printf %s 10293 > /sys/kernel/config/nvlab/nvlab-nvme-backing-ssd-4/read_delay
printf %s 1707 > /sys/kernel/config/nvlab/nvlab-nvme-backing-ssd-4/read_time
printf %s 11952 > /sys/kernel/config/nvlab/nvlab-nvme-backing-ssd-4/write_delay
printf %s 2048 > /sys/kernel/config/nvlab/nvlab-nvme-backing-ssd-4/write_time
printf %s 1 > /sys/kernel/config/nvlab/nvlab-nvme-backing-ssd-4/nr_io_units
printf %s 12 > /sys/kernel/config/nvlab/nvlab-nvme-backing-ssd-4/io_unit_shift
printf %s 1 > /sys/kernel/config/nvlab/nvlab-nvme-backing-ssd-4/power
SSD_4_DEV=$(nvme_namespace nqn.2026-11.io.nvlab:device:nvme-backing:ssd.4 1)

# raid.md/ignore
mkdir -p /etc/mdadm/mdadm.conf.d
(set -C; printf '%s\n' 'ARRAY <ignore> UUID=e5b77add:1f17543a:99e6251d:9b6659a6' > /etc/mdadm/mdadm.conf.d/nvlab-nvlab-nvme-backing-md.conf)

# raid.md
MD_NUMBER=$(free_number md)
mdadm --create "/dev/md$MD_NUMBER" --run --metadata=1.2 --homehost=nvlab --name=nvlab-nvme-backing-md --uuid=e5b77add:1f17543a:99e6251d:9b6659a6 --level=5 --raid-devices=4 --bitmap=none --chunk=64 "$SSD_1_DEV" "$SSD_2_DEV" "$SSD_3_DEV" "$SSD_4_DEV"
SECONDS=0; until [ "$(cat "/sys/block/md$MD_NUMBER/md/resync_start")" = none ] && [ "$(cat "/sys/block/md$MD_NUMBER/md/sync_action")" = idle ] && [ "$(cat "/sys/block/md$MD_NUMBER/md/degraded")" = 0 ]; do sleep 0.1; ((SECONDS < 600)); done
MD_DEV="/dev/md$MD_NUMBER"

# export.drive/host-1
mkdir /sys/kernel/config/nvmet/hosts/nqn.2026-11.io.nvlab:host:nvme-backing:client

# export.drive/subsystem
mkdir /sys/kernel/config/nvmet/subsystems/nqn.2026-11.io.nvlab:export:nvme-backing:drive
printf %s 80213ac4201e5bf6b74c > /sys/kernel/config/nvmet/subsystems/nqn.2026-11.io.nvlab:export:nvme-backing:drive/attr_serial
printf %s nvlab > /sys/kernel/config/nvmet/subsystems/nqn.2026-11.io.nvlab:export:nvme-backing:drive/attr_model
ln -s /sys/kernel/config/nvmet/hosts/nqn.2026-11.io.nvlab:host:nvme-backing:client /sys/kernel/config/nvmet/subsystems/nqn.2026-11.io.nvlab:export:nvme-backing:drive/allowed_hosts/nqn.2026-11.io.nvlab:host:nvme-backing:client
DRIVE_NQN=nqn.2026-11.io.nvlab:export:nvme-backing:drive

# export.drive/namespace-1
mkdir /sys/kernel/config/nvmet/subsystems/nqn.2026-11.io.nvlab:export:nvme-backing:drive/namespaces/1
printf %s "$MD_DEV" > /sys/kernel/config/nvmet/subsystems/nqn.2026-11.io.nvlab:export:nvme-backing:drive/namespaces/1/device_path
printf %s 3d6987d0-6391-5aab-bfb8-c2a3f8058da0 > /sys/kernel/config/nvmet/subsystems/nqn.2026-11.io.nvlab:export:nvme-backing:drive/namespaces/1/device_uuid
printf %s dec8b852-5e50-59ec-af06-ef1db8365221 > /sys/kernel/config/nvmet/subsystems/nqn.2026-11.io.nvlab:export:nvme-backing:drive/namespaces/1/device_nguid
printf %s 1 > /sys/kernel/config/nvmet/subsystems/nqn.2026-11.io.nvlab:export:nvme-backing:drive/namespaces/1/enable
SECONDS=0; until [ "$(cat /sys/kernel/config/nvmet/subsystems/nqn.2026-11.io.nvlab:export:nvme-backing:drive/namespaces/1/enable)" = 1 ]; do sleep 0.1; ((SECONDS < 60)); done

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
exec 9<> /dev/nvme-fabrics; printf %s "transport=tcp,traddr=127.0.0.1,trsvcid=4420,nqn=$DRIVE_NQN,hostnqn=nqn.2026-11.io.nvlab:host:nvme-backing:client,hostid=f1368fb4-e79d-53b4-aabf-7a0737e1b4a4,queue_size=128,keep_alive_tmo=5,reconnect_delay=2,ctrl_loss_tmo=30,nr_io_queues=$CLIENT_QUEUES" >&9; read -r _ <&9; exec 9>&-

