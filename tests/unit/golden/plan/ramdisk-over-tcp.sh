#!/bin/bash
# ramdisk-over-tcp: brd over NVMe/TCP
#
# What `nvlab up` would do, without its care: this script keeps no journal, and nothing undoes it. Run it as root, in a guest
# that you can throw away. It stops at the first command that fails.
set -euo pipefail
trap 'echo "line $LINENO failed: $BASH_COMMAND" >&2' ERR

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
modprobe --all configfs nvmet nvmet-tcp nvme-fabrics nvme-tcp

# configfs
if ! mountpoint -q /sys/kernel/config; then
    mount -t configfs configfs /sys/kernel/config
fi

# disk.ram
modprobe brd rd_nr=1 rd_size=262144 max_part=1
SECONDS=0; until [ -b /dev/ram0 ]; do sleep 0.1; ((SECONDS < 60)); done
RAM_DEV=/dev/ram0

# export.drive/host-1
mkdir /sys/kernel/config/nvmet/hosts/nqn.2026-11.io.nvlab:host:ramdisk-over-tcp:client

# export.drive/subsystem
mkdir /sys/kernel/config/nvmet/subsystems/nqn.2026-11.io.nvlab:export:ramdisk-over-tcp:drive
printf %s e69ba08ac3e158e3a912 > /sys/kernel/config/nvmet/subsystems/nqn.2026-11.io.nvlab:export:ramdisk-over-tcp:drive/attr_serial
printf %s nvlab > /sys/kernel/config/nvmet/subsystems/nqn.2026-11.io.nvlab:export:ramdisk-over-tcp:drive/attr_model
ln -s /sys/kernel/config/nvmet/hosts/nqn.2026-11.io.nvlab:host:ramdisk-over-tcp:client /sys/kernel/config/nvmet/subsystems/nqn.2026-11.io.nvlab:export:ramdisk-over-tcp:drive/allowed_hosts/nqn.2026-11.io.nvlab:host:ramdisk-over-tcp:client
DRIVE_NQN=nqn.2026-11.io.nvlab:export:ramdisk-over-tcp:drive

# export.drive/namespace-1
mkdir /sys/kernel/config/nvmet/subsystems/nqn.2026-11.io.nvlab:export:ramdisk-over-tcp:drive/namespaces/1
printf %s "$RAM_DEV" > /sys/kernel/config/nvmet/subsystems/nqn.2026-11.io.nvlab:export:ramdisk-over-tcp:drive/namespaces/1/device_path
printf %s 6416b1ba-bbbe-5046-a3d4-6e33e4d2d668 > /sys/kernel/config/nvmet/subsystems/nqn.2026-11.io.nvlab:export:ramdisk-over-tcp:drive/namespaces/1/device_uuid
printf %s fa8b8d3a-84b1-5e05-82ed-30059b38a8c0 > /sys/kernel/config/nvmet/subsystems/nqn.2026-11.io.nvlab:export:ramdisk-over-tcp:drive/namespaces/1/device_nguid
printf %s 1 > /sys/kernel/config/nvmet/subsystems/nqn.2026-11.io.nvlab:export:ramdisk-over-tcp:drive/namespaces/1/enable
SECONDS=0; until [ "$(cat /sys/kernel/config/nvmet/subsystems/nqn.2026-11.io.nvlab:export:ramdisk-over-tcp:drive/namespaces/1/enable)" = 1 ]; do sleep 0.1; ((SECONDS < 60)); done

# export.drive/port
DRIVE_PORT_NUMBER=$(nvmet_port 127.0.0.1 11345)
if ! [ -d "/sys/kernel/config/nvmet/ports/$DRIVE_PORT_NUMBER" ]; then
    mkdir "/sys/kernel/config/nvmet/ports/$DRIVE_PORT_NUMBER"
    printf %s tcp > "/sys/kernel/config/nvmet/ports/$DRIVE_PORT_NUMBER/addr_trtype"
    printf %s ipv4 > "/sys/kernel/config/nvmet/ports/$DRIVE_PORT_NUMBER/addr_adrfam"
    printf %s 127.0.0.1 > "/sys/kernel/config/nvmet/ports/$DRIVE_PORT_NUMBER/addr_traddr"
    printf %s 11345 > "/sys/kernel/config/nvmet/ports/$DRIVE_PORT_NUMBER/addr_trsvcid"
fi

# export.drive
ln -s "/sys/kernel/config/nvmet/subsystems/$DRIVE_NQN" "/sys/kernel/config/nvmet/ports/$DRIVE_PORT_NUMBER/subsystems/$DRIVE_NQN"

# connect.client
CLIENT_QUEUES=$(io_queues 128)
exec 9<> /dev/nvme-fabrics; printf %s "transport=tcp,traddr=127.0.0.1,trsvcid=11345,nqn=$DRIVE_NQN,hostnqn=nqn.2026-11.io.nvlab:host:ramdisk-over-tcp:client,hostid=c475d6bb-2fa7-549e-9c08-1a36aafdc44d,queue_size=128,keep_alive_tmo=5,reconnect_delay=2,ctrl_loss_tmo=30,nr_io_queues=$CLIENT_QUEUES" >&9; read -r _ <&9; exec 9>&-

