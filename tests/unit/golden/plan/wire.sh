#!/bin/bash
# wire: NVMe/TCP: packets and queues
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
modprobe --all veth sch_netem configfs nvmet nvmet-tcp nvme-fabrics nvme-tcp

# configfs
if ! mountpoint -q /sys/kernel/config; then
    mount -t configfs configfs /sys/kernel/config
fi

# disk.ram
modprobe brd rd_nr=1 rd_size=65536 max_part=1
SECONDS=0; until [ -b /dev/ram0 ]; do sleep 0.1; ((SECONDS < 60)); done
RAM_DEV=/dev/ram0

# wire.w
mkdir -p /run/nvlab/net
(set -C; : > /run/nvlab/net/nvlab-wire-w); truncate -s 0 /run/nvlab/net/nvlab-wire-w
unshare --net=/run/nvlab/net/nvlab-wire-w true
ip link add nvlab-wire-w address 02:63:da:1e:68:7c mtu 1500 gso_max_segs 1 type veth peer name wire address 02:3a:a9:e6:f6:af mtu 1500 gso_max_segs 1 netns /run/nvlab/net/nvlab-wire-w
tc qdisc add dev nvlab-wire-w root netem limit 1000000 delay 100us
ip address add 198.19.173.125/30 dev nvlab-wire-w
ip link set nvlab-wire-w up
nsenter --net=/run/nvlab/net/nvlab-wire-w tc qdisc add dev wire root netem limit 1000000 delay 100us
nsenter --net=/run/nvlab/net/nvlab-wire-w ip address add 198.19.173.126/30 dev wire
nsenter --net=/run/nvlab/net/nvlab-wire-w ip link set wire up
W_NETNS=/run/nvlab/net/nvlab-wire-w
W_FAR=198.19.173.126

# export.drive/host-1
mkdir /sys/kernel/config/nvmet/hosts/nqn.2026-11.io.nvlab:host:wire:client

# export.drive/subsystem
mkdir /sys/kernel/config/nvmet/subsystems/nqn.2026-11.io.nvlab:export:wire:drive
printf %s 6351ae7e3445591490e8 > /sys/kernel/config/nvmet/subsystems/nqn.2026-11.io.nvlab:export:wire:drive/attr_serial
printf %s nvlab > /sys/kernel/config/nvmet/subsystems/nqn.2026-11.io.nvlab:export:wire:drive/attr_model
ln -s /sys/kernel/config/nvmet/hosts/nqn.2026-11.io.nvlab:host:wire:client /sys/kernel/config/nvmet/subsystems/nqn.2026-11.io.nvlab:export:wire:drive/allowed_hosts/nqn.2026-11.io.nvlab:host:wire:client
DRIVE_NQN=nqn.2026-11.io.nvlab:export:wire:drive

# export.drive/namespace-1
mkdir /sys/kernel/config/nvmet/subsystems/nqn.2026-11.io.nvlab:export:wire:drive/namespaces/1
printf %s "$RAM_DEV" > /sys/kernel/config/nvmet/subsystems/nqn.2026-11.io.nvlab:export:wire:drive/namespaces/1/device_path
printf %s 61711650-76fc-56e7-a895-72435cf13f9d > /sys/kernel/config/nvmet/subsystems/nqn.2026-11.io.nvlab:export:wire:drive/namespaces/1/device_uuid
printf %s 75d565bf-ce10-546a-b4d9-82be7c1496a1 > /sys/kernel/config/nvmet/subsystems/nqn.2026-11.io.nvlab:export:wire:drive/namespaces/1/device_nguid
printf %s 1 > /sys/kernel/config/nvmet/subsystems/nqn.2026-11.io.nvlab:export:wire:drive/namespaces/1/enable
SECONDS=0; until [ "$(cat /sys/kernel/config/nvmet/subsystems/nqn.2026-11.io.nvlab:export:wire:drive/namespaces/1/enable)" = 1 ]; do sleep 0.1; ((SECONDS < 60)); done

# export.drive/port
DRIVE_PORT_NUMBER=$(nvmet_port "$W_FAR" 4420)
if ! [ -d "/sys/kernel/config/nvmet/ports/$DRIVE_PORT_NUMBER" ]; then
    mkdir "/sys/kernel/config/nvmet/ports/$DRIVE_PORT_NUMBER"
    printf %s tcp > "/sys/kernel/config/nvmet/ports/$DRIVE_PORT_NUMBER/addr_trtype"
    printf %s ipv4 > "/sys/kernel/config/nvmet/ports/$DRIVE_PORT_NUMBER/addr_adrfam"
    printf %s "$W_FAR" > "/sys/kernel/config/nvmet/ports/$DRIVE_PORT_NUMBER/addr_traddr"
    printf %s 4420 > "/sys/kernel/config/nvmet/ports/$DRIVE_PORT_NUMBER/addr_trsvcid"
fi

# export.drive
nsenter "--net=$W_NETNS" ln -s "/sys/kernel/config/nvmet/subsystems/$DRIVE_NQN" "/sys/kernel/config/nvmet/ports/$DRIVE_PORT_NUMBER/subsystems/$DRIVE_NQN"

# connect.client
CLIENT_QUEUES=$(io_queues 1)
exec 9<> /dev/nvme-fabrics; printf %s "transport=tcp,traddr=$W_FAR,trsvcid=4420,nqn=$DRIVE_NQN,hostnqn=nqn.2026-11.io.nvlab:host:wire:client,hostid=6b6bd988-b061-54e4-820f-862819027003,queue_size=128,keep_alive_tmo=5,reconnect_delay=2,ctrl_loss_tmo=30,nr_io_queues=$CLIENT_QUEUES" >&9; read -r _ <&9; exec 9>&-

