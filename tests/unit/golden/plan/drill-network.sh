#!/bin/bash
# drill-network: An NVMe/TCP connection that breaks for some seconds, under load
#
# What `nvlab up` would do, without its care: this script keeps no journal, and nothing undoes it. Run it as root, in a guest
# that you can throw away. It stops at the first command that fails.
# It wants nvlab.ko in the current directory (nvlab kmod build --into .) and 66560K$0x140000000 and 66560K$0x144200000
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

# device.ssd.1
mkdir /sys/kernel/config/nvlab/nvlab-drill-network-ssd-1
printf %s 0x140000000 > /sys/kernel/config/nvlab/nvlab-drill-network-ssd-1/memmap_start
printf %s 68157440 > /sys/kernel/config/nvlab/nvlab-drill-network-ssd-1/memmap_size
printf %s 512 > /sys/kernel/config/nvlab/nvlab-drill-network-ssd-1/block_size
printf %s 0 > /sys/kernel/config/nvlab/nvlab-drill-network-ssd-1/vwc
printf %s 4735ede69ed05f37acb3 > /sys/kernel/config/nvlab/nvlab-drill-network-ssd-1/serial
printf %s nqn.2026-11.io.nvlab:device:drill-network:ssd.1 > /sys/kernel/config/nvlab/nvlab-drill-network-ssd-1/subnqn
printf %s 10293 > /sys/kernel/config/nvlab/nvlab-drill-network-ssd-1/read_delay
printf %s 1707 > /sys/kernel/config/nvlab/nvlab-drill-network-ssd-1/read_time
printf %s 11952 > /sys/kernel/config/nvlab/nvlab-drill-network-ssd-1/write_delay
printf %s 2048 > /sys/kernel/config/nvlab/nvlab-drill-network-ssd-1/write_time
printf %s 1 > /sys/kernel/config/nvlab/nvlab-drill-network-ssd-1/nr_io_units
printf %s 12 > /sys/kernel/config/nvlab/nvlab-drill-network-ssd-1/io_unit_shift
printf %s 1 > /sys/kernel/config/nvlab/nvlab-drill-network-ssd-1/power
SSD_1_DEV=$(nvme_namespace nqn.2026-11.io.nvlab:device:drill-network:ssd.1 1)

# device.ssd.2
mkdir /sys/kernel/config/nvlab/nvlab-drill-network-ssd-2
printf %s 0x144200000 > /sys/kernel/config/nvlab/nvlab-drill-network-ssd-2/memmap_start
printf %s 68157440 > /sys/kernel/config/nvlab/nvlab-drill-network-ssd-2/memmap_size
printf %s 512 > /sys/kernel/config/nvlab/nvlab-drill-network-ssd-2/block_size
printf %s 0 > /sys/kernel/config/nvlab/nvlab-drill-network-ssd-2/vwc
printf %s 04192b7b37235bce944a > /sys/kernel/config/nvlab/nvlab-drill-network-ssd-2/serial
printf %s nqn.2026-11.io.nvlab:device:drill-network:ssd.2 > /sys/kernel/config/nvlab/nvlab-drill-network-ssd-2/subnqn
printf %s 10293 > /sys/kernel/config/nvlab/nvlab-drill-network-ssd-2/read_delay
printf %s 1707 > /sys/kernel/config/nvlab/nvlab-drill-network-ssd-2/read_time
printf %s 11952 > /sys/kernel/config/nvlab/nvlab-drill-network-ssd-2/write_delay
printf %s 2048 > /sys/kernel/config/nvlab/nvlab-drill-network-ssd-2/write_time
printf %s 1 > /sys/kernel/config/nvlab/nvlab-drill-network-ssd-2/nr_io_units
printf %s 12 > /sys/kernel/config/nvlab/nvlab-drill-network-ssd-2/io_unit_shift
printf %s 1 > /sys/kernel/config/nvlab/nvlab-drill-network-ssd-2/power
SSD_2_DEV=$(nvme_namespace nqn.2026-11.io.nvlab:device:drill-network:ssd.2 1)

# export.drive/host-1
mkdir /sys/kernel/config/nvmet/hosts/nqn.2026-11.io.nvlab:host:drill-network:client

# export.drive/subsystem
mkdir /sys/kernel/config/nvmet/subsystems/nqn.2026-11.io.nvlab:export:drill-network:drive
printf %s a0f4b3d6e97954aab558 > /sys/kernel/config/nvmet/subsystems/nqn.2026-11.io.nvlab:export:drill-network:drive/attr_serial
printf %s nvlab > /sys/kernel/config/nvmet/subsystems/nqn.2026-11.io.nvlab:export:drill-network:drive/attr_model
ln -s /sys/kernel/config/nvmet/hosts/nqn.2026-11.io.nvlab:host:drill-network:client /sys/kernel/config/nvmet/subsystems/nqn.2026-11.io.nvlab:export:drill-network:drive/allowed_hosts/nqn.2026-11.io.nvlab:host:drill-network:client
DRIVE_NQN=nqn.2026-11.io.nvlab:export:drill-network:drive

# export.drive/namespace-1
mkdir /sys/kernel/config/nvmet/subsystems/nqn.2026-11.io.nvlab:export:drill-network:drive/namespaces/1
printf %s "$SSD_1_DEV" > /sys/kernel/config/nvmet/subsystems/nqn.2026-11.io.nvlab:export:drill-network:drive/namespaces/1/device_path
printf %s 19f7a4a1-9c14-58cc-85dc-bff7a876e4e9 > /sys/kernel/config/nvmet/subsystems/nqn.2026-11.io.nvlab:export:drill-network:drive/namespaces/1/device_uuid
printf %s fc85e7ab-4bdb-52d8-b30a-02eaf4f0a84e > /sys/kernel/config/nvmet/subsystems/nqn.2026-11.io.nvlab:export:drill-network:drive/namespaces/1/device_nguid
printf %s 1 > /sys/kernel/config/nvmet/subsystems/nqn.2026-11.io.nvlab:export:drill-network:drive/namespaces/1/enable
SECONDS=0; until [ "$(cat /sys/kernel/config/nvmet/subsystems/nqn.2026-11.io.nvlab:export:drill-network:drive/namespaces/1/enable)" = 1 ]; do sleep 0.1; ((SECONDS < 60)); done

# export.drive/namespace-2
mkdir /sys/kernel/config/nvmet/subsystems/nqn.2026-11.io.nvlab:export:drill-network:drive/namespaces/2
printf %s "$SSD_2_DEV" > /sys/kernel/config/nvmet/subsystems/nqn.2026-11.io.nvlab:export:drill-network:drive/namespaces/2/device_path
printf %s 7af5800e-a8ff-5cd1-8a89-cab648e11bab > /sys/kernel/config/nvmet/subsystems/nqn.2026-11.io.nvlab:export:drill-network:drive/namespaces/2/device_uuid
printf %s 9b139bfc-c22b-59a4-87b4-92077d232d6c > /sys/kernel/config/nvmet/subsystems/nqn.2026-11.io.nvlab:export:drill-network:drive/namespaces/2/device_nguid
printf %s 1 > /sys/kernel/config/nvmet/subsystems/nqn.2026-11.io.nvlab:export:drill-network:drive/namespaces/2/enable
SECONDS=0; until [ "$(cat /sys/kernel/config/nvmet/subsystems/nqn.2026-11.io.nvlab:export:drill-network:drive/namespaces/2/enable)" = 1 ]; do sleep 0.1; ((SECONDS < 60)); done

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
exec 9<> /dev/nvme-fabrics; printf %s "transport=tcp,traddr=127.0.0.1,trsvcid=4420,nqn=$DRIVE_NQN,hostnqn=nqn.2026-11.io.nvlab:host:drill-network:client,hostid=62698f6a-6642-574f-8ac6-e8c3c9d091c9,queue_size=128,keep_alive_tmo=5,reconnect_delay=1,ctrl_loss_tmo=60,nr_io_queues=$CLIENT_QUEUES" >&9; read -r _ <&9; exec 9>&-

# export.drive: drive port-down, at 20% of randread
event_1() {
    rm -f "/sys/kernel/config/nvmet/ports/$DRIVE_PORT_NUMBER/subsystems/$DRIVE_NQN"
}

# export.drive: drive port-up, at 40% of randread
event_2() {
    ln -s "/sys/kernel/config/nvmet/subsystems/$DRIVE_NQN" "/sys/kernel/config/nvmet/ports/$DRIVE_PORT_NUMBER/subsystems/$DRIVE_NQN"
}

# export.drive: drive namespace-off 2, at 70% of randread
event_3() {
    printf %s 0 > "/sys/kernel/config/nvmet/subsystems/$DRIVE_NQN/namespaces/2/enable"
    SECONDS=0; until [ "$(cat "/sys/kernel/config/nvmet/subsystems/$DRIVE_NQN/namespaces/2/enable")" = 0 ]; do sleep 0.1; ((SECONDS < 60)); done
}

# export.drive: drive namespace-on 2, at 80% of randread
event_4() {
    printf %s 1 > "/sys/kernel/config/nvmet/subsystems/$DRIVE_NQN/namespaces/2/enable"
    SECONDS=0; until [ "$(cat "/sys/kernel/config/nvmet/subsystems/$DRIVE_NQN/namespaces/2/enable")" = 1 ]; do sleep 0.1; ((SECONDS < 60)); done
}

