#!/bin/bash
# two-paths: A dual-port drive that loses a port
#
# What `nvlab up` would do, without its care: this script keeps no journal, and nothing undoes it. Run it as root, in a guest
# that you can throw away. It stops at the first command that fails.
# It wants nvlab.ko in the current directory (nvlab kmod build --into .) and 133120K$0x140000000 and 132096K$0x148200000
# reserved on the kernel's command line (memmap=).
set -euo pipefail
trap 'echo "line $LINENO failed: $BASH_COMMAND" >&2' ERR

# modules
modprobe --all configfs nvme

# configfs
if ! mountpoint -q /sys/kernel/config; then
    mount -t configfs configfs /sys/kernel/config
fi

# device/module
if ! [ -d /sys/module/nvlab ]; then
    insmod nvlab.ko
fi

# device.dual
mkdir /sys/kernel/config/nvlab/nvlab-two-paths-dual
printf %s 0x140000000 > /sys/kernel/config/nvlab/nvlab-two-paths-dual/memmap_start
printf %s 136314880 > /sys/kernel/config/nvlab/nvlab-two-paths-dual/memmap_size
printf %s 512 > /sys/kernel/config/nvlab/nvlab-two-paths-dual/block_size
printf %s 0 > /sys/kernel/config/nvlab/nvlab-two-paths-dual/vwc
printf %s 9332270b17055c198c9f > /sys/kernel/config/nvlab/nvlab-two-paths-dual/serial
printf %s nqn.2026-11.io.nvlab:device:two-paths:dual > /sys/kernel/config/nvlab/nvlab-two-paths-dual/subnqn
printf %s 10293 > /sys/kernel/config/nvlab/nvlab-two-paths-dual/read_delay
printf %s 1707 > /sys/kernel/config/nvlab/nvlab-two-paths-dual/read_time
printf %s 11952 > /sys/kernel/config/nvlab/nvlab-two-paths-dual/write_delay
printf %s 2048 > /sys/kernel/config/nvlab/nvlab-two-paths-dual/write_time
printf %s 1 > /sys/kernel/config/nvlab/nvlab-two-paths-dual/nr_io_units
printf %s 12 > /sys/kernel/config/nvlab/nvlab-two-paths-dual/io_unit_shift
printf %s 2 > /sys/kernel/config/nvlab/nvlab-two-paths-dual/controllers
printf %s 1 > /sys/kernel/config/nvlab/nvlab-two-paths-dual/power

# device.single
mkdir /sys/kernel/config/nvlab/nvlab-two-paths-single
printf %s 0x148200000 > /sys/kernel/config/nvlab/nvlab-two-paths-single/memmap_start
printf %s 135266304 > /sys/kernel/config/nvlab/nvlab-two-paths-single/memmap_size
printf %s 512 > /sys/kernel/config/nvlab/nvlab-two-paths-single/block_size
printf %s 0 > /sys/kernel/config/nvlab/nvlab-two-paths-single/vwc
printf %s 4a8dfe221c415947a9be > /sys/kernel/config/nvlab/nvlab-two-paths-single/serial
printf %s nqn.2026-11.io.nvlab:device:two-paths:single > /sys/kernel/config/nvlab/nvlab-two-paths-single/subnqn
printf %s 10293 > /sys/kernel/config/nvlab/nvlab-two-paths-single/read_delay
printf %s 1707 > /sys/kernel/config/nvlab/nvlab-two-paths-single/read_time
printf %s 11952 > /sys/kernel/config/nvlab/nvlab-two-paths-single/write_delay
printf %s 2048 > /sys/kernel/config/nvlab/nvlab-two-paths-single/write_time
printf %s 1 > /sys/kernel/config/nvlab/nvlab-two-paths-single/nr_io_units
printf %s 12 > /sys/kernel/config/nvlab/nvlab-two-paths-single/io_unit_shift
printf %s 1 > /sys/kernel/config/nvlab/nvlab-two-paths-single/power

# device.dual/fault-cable
mkdir /sys/kernel/config/nvlab/nvlab-two-paths-dual/faults/cable
printf %s link-loss > /sys/kernel/config/nvlab/nvlab-two-paths-dual/faults/cable/action
printf %s any > /sys/kernel/config/nvlab/nvlab-two-paths-dual/faults/cable/opcode
printf %s 0 > /sys/kernel/config/nvlab/nvlab-two-paths-dual/faults/cable/slba
printf %s 0 > /sys/kernel/config/nvlab/nvlab-two-paths-dual/faults/cable/nlb
printf %s 0 > /sys/kernel/config/nvlab/nvlab-two-paths-dual/faults/cable/nsid
printf %s 0 > /sys/kernel/config/nvlab/nvlab-two-paths-dual/faults/cable/queue
printf %s 0 > /sys/kernel/config/nvlab/nvlab-two-paths-dual/faults/cable/controller
printf %s 3000 > /sys/kernel/config/nvlab/nvlab-two-paths-dual/faults/cable/every
printf %s 1 > /sys/kernel/config/nvlab/nvlab-two-paths-dual/faults/cable/count
printf %s 1000000 > /sys/kernel/config/nvlab/nvlab-two-paths-dual/faults/cable/chance
printf %s 1 > /sys/kernel/config/nvlab/nvlab-two-paths-dual/faults/cable/enable

