#!/bin/bash
# bare-nvme: One virtual NVMe device, local and over NVMe/TCP
#
# What `nvlab up` would do, without its care: this script keeps no journal, and nothing undoes it. Run it as root, in a guest
# that you can throw away. It stops at the first command that fails.
# It wants nvlab.ko in the current directory (nvlab kmod build --into .) and 263168K$0x140000000
# reserved on the kernel's command line (memmap=).
set -euo pipefail
trap 'echo "line $LINENO failed: $BASH_COMMAND" >&2' ERR

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
modprobe --all configfs nvme nvmet nvmet-tcp nvme-fabrics nvme-tcp

# configfs
if ! mountpoint -q /sys/kernel/config; then
    mount -t configfs configfs /sys/kernel/config
fi

# device/module
if ! [ -d /sys/module/nvlab ]; then
    insmod nvlab.ko
fi

# device.ssd
mkdir /sys/kernel/config/nvlab/nvlab-bare-nvme-ssd
printf %s 0x140000000 > /sys/kernel/config/nvlab/nvlab-bare-nvme-ssd/memmap_start
printf %s 269484032 > /sys/kernel/config/nvlab/nvlab-bare-nvme-ssd/memmap_size
printf %s 512 > /sys/kernel/config/nvlab/nvlab-bare-nvme-ssd/block_size
printf %s 0 > /sys/kernel/config/nvlab/nvlab-bare-nvme-ssd/vwc
printf %s e4aed555156b50c5a25c > /sys/kernel/config/nvlab/nvlab-bare-nvme-ssd/serial
printf %s nqn.2026-11.io.nvlab:device:bare-nvme:ssd > /sys/kernel/config/nvlab/nvlab-bare-nvme-ssd/subnqn
printf %s 10293 > /sys/kernel/config/nvlab/nvlab-bare-nvme-ssd/read_delay
printf %s 1707 > /sys/kernel/config/nvlab/nvlab-bare-nvme-ssd/read_time
printf %s 11952 > /sys/kernel/config/nvlab/nvlab-bare-nvme-ssd/write_delay
printf %s 2048 > /sys/kernel/config/nvlab/nvlab-bare-nvme-ssd/write_time
printf %s 1 > /sys/kernel/config/nvlab/nvlab-bare-nvme-ssd/nr_io_units
printf %s 12 > /sys/kernel/config/nvlab/nvlab-bare-nvme-ssd/io_unit_shift
printf %s 1 > /sys/kernel/config/nvlab/nvlab-bare-nvme-ssd/power
SSD_DEV=$(nvme_namespace nqn.2026-11.io.nvlab:device:bare-nvme:ssd 1)

# export.drive/host-1
mkdir /sys/kernel/config/nvmet/hosts/nqn.2026-11.io.nvlab:host:bare-nvme:client

# export.drive/subsystem
mkdir /sys/kernel/config/nvmet/subsystems/nqn.2026-11.io.nvlab:export:bare-nvme:drive
printf %s feea85ed4b30589a9052 > /sys/kernel/config/nvmet/subsystems/nqn.2026-11.io.nvlab:export:bare-nvme:drive/attr_serial
printf %s nvlab > /sys/kernel/config/nvmet/subsystems/nqn.2026-11.io.nvlab:export:bare-nvme:drive/attr_model
ln -s /sys/kernel/config/nvmet/hosts/nqn.2026-11.io.nvlab:host:bare-nvme:client /sys/kernel/config/nvmet/subsystems/nqn.2026-11.io.nvlab:export:bare-nvme:drive/allowed_hosts/nqn.2026-11.io.nvlab:host:bare-nvme:client
DRIVE_NQN=nqn.2026-11.io.nvlab:export:bare-nvme:drive

# export.drive/namespace-1
mkdir /sys/kernel/config/nvmet/subsystems/nqn.2026-11.io.nvlab:export:bare-nvme:drive/namespaces/1
printf %s "$SSD_DEV" > /sys/kernel/config/nvmet/subsystems/nqn.2026-11.io.nvlab:export:bare-nvme:drive/namespaces/1/device_path
printf %s 743c120e-c425-5c8b-89da-781008417679 > /sys/kernel/config/nvmet/subsystems/nqn.2026-11.io.nvlab:export:bare-nvme:drive/namespaces/1/device_uuid
printf %s c8264cd7-7116-569d-9b19-f760275da08b > /sys/kernel/config/nvmet/subsystems/nqn.2026-11.io.nvlab:export:bare-nvme:drive/namespaces/1/device_nguid
printf %s 1 > /sys/kernel/config/nvmet/subsystems/nqn.2026-11.io.nvlab:export:bare-nvme:drive/namespaces/1/enable
SECONDS=0; until [ "$(cat /sys/kernel/config/nvmet/subsystems/nqn.2026-11.io.nvlab:export:bare-nvme:drive/namespaces/1/enable)" = 1 ]; do sleep 0.1; ((SECONDS < 60)); done

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
exec 9<> /dev/nvme-fabrics; printf %s "transport=tcp,traddr=127.0.0.1,trsvcid=4420,nqn=$DRIVE_NQN,hostnqn=nqn.2026-11.io.nvlab:host:bare-nvme:client,hostid=380b9a2f-8ca1-5461-b46d-18826a4e278f,queue_size=128,keep_alive_tmo=5,reconnect_delay=2,ctrl_loss_tmo=30,nr_io_queues=$CLIENT_QUEUES" >&9; read -r _ <&9; exec 9>&-

