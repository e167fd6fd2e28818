#!/bin/bash
# zoned: Zones on one die, and zones on all dies
#
# What `nvlab up` would do, without its care: this script keeps no journal, and nothing undoes it. Run it as root, in a guest
# that you can throw away. It stops at the first command that fails.
# It wants nvlab.ko in the current directory (nvlab kmod build --into .) and 1049600K$0x140000000 and 1049600K$0x180200000
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

# device.narrow
mkdir /sys/kernel/config/nvlab/nvlab-zoned-narrow
printf %s 0x140000000 > /sys/kernel/config/nvlab/nvlab-zoned-narrow/memmap_start
printf %s 1074790400 > /sys/kernel/config/nvlab/nvlab-zoned-narrow/memmap_size
printf %s 4096 > /sys/kernel/config/nvlab/nvlab-zoned-narrow/block_size
printf %s 0 > /sys/kernel/config/nvlab/nvlab-zoned-narrow/vwc
printf %s 181092032d175eb3a50b > /sys/kernel/config/nvlab/nvlab-zoned-narrow/serial
printf %s nqn.2026-11.io.nvlab:device:zoned:narrow > /sys/kernel/config/nvlab/nvlab-zoned-narrow/subnqn
printf %s zns > /sys/kernel/config/nvlab/nvlab-zoned-narrow/kind
printf %s 58000 > /sys/kernel/config/nvlab/nvlab-zoned-narrow/medium/read_lsb
printf %s 58000 > /sys/kernel/config/nvlab/nvlab-zoned-narrow/medium/read_csb
printf %s 58000 > /sys/kernel/config/nvlab/nvlab-zoned-narrow/medium/read_msb
printf %s 472 > /sys/kernel/config/nvlab/nvlab-zoned-narrow/medium/channel_speed
printf %s 3198 > /sys/kernel/config/nvlab/nvlab-zoned-narrow/medium/link_speed
printf %s 13000 > /sys/kernel/config/nvlab/nvlab-zoned-narrow/medium/fw_read_large
printf %s 5600 > /sys/kernel/config/nvlab/nvlab-zoned-narrow/medium/fw_write
printf %s 600 > /sys/kernel/config/nvlab/nvlab-zoned-narrow/medium/fw_write_unit
printf %s 13440 > /sys/kernel/config/nvlab/nvlab-zoned-narrow/medium/buffer
printf %s 1 > /sys/kernel/config/nvlab/nvlab-zoned-narrow/medium/plp
printf %s 32768 > /sys/kernel/config/nvlab/nvlab-zoned-narrow/medium/zone_size
printf %s 24576 > /sys/kernel/config/nvlab/nvlab-zoned-narrow/medium/zone_capacity
printf %s 1 > /sys/kernel/config/nvlab/nvlab-zoned-narrow/medium/zone_dies
printf %s 960 > /sys/kernel/config/nvlab/nvlab-zoned-narrow/medium/zone_buffer
printf %s 14 > /sys/kernel/config/nvlab/nvlab-zoned-narrow/medium/zone_max_active
printf %s 14 > /sys/kernel/config/nvlab/nvlab-zoned-narrow/medium/zone_max_open
printf %s 1 > /sys/kernel/config/nvlab/nvlab-zoned-narrow/power

# device.wide
mkdir /sys/kernel/config/nvlab/nvlab-zoned-wide
printf %s 0x180200000 > /sys/kernel/config/nvlab/nvlab-zoned-wide/memmap_start
printf %s 1074790400 > /sys/kernel/config/nvlab/nvlab-zoned-wide/memmap_size
printf %s 4096 > /sys/kernel/config/nvlab/nvlab-zoned-wide/block_size
printf %s 0 > /sys/kernel/config/nvlab/nvlab-zoned-wide/vwc
printf %s e80122f42f9d51a0920a > /sys/kernel/config/nvlab/nvlab-zoned-wide/serial
printf %s nqn.2026-11.io.nvlab:device:zoned:wide > /sys/kernel/config/nvlab/nvlab-zoned-wide/subnqn
printf %s zns > /sys/kernel/config/nvlab/nvlab-zoned-wide/kind
printf %s 58000 > /sys/kernel/config/nvlab/nvlab-zoned-wide/medium/read_lsb
printf %s 58000 > /sys/kernel/config/nvlab/nvlab-zoned-wide/medium/read_csb
printf %s 58000 > /sys/kernel/config/nvlab/nvlab-zoned-wide/medium/read_msb
printf %s 472 > /sys/kernel/config/nvlab/nvlab-zoned-wide/medium/channel_speed
printf %s 3198 > /sys/kernel/config/nvlab/nvlab-zoned-wide/medium/link_speed
printf %s 13000 > /sys/kernel/config/nvlab/nvlab-zoned-wide/medium/fw_read_large
printf %s 5600 > /sys/kernel/config/nvlab/nvlab-zoned-wide/medium/fw_write
printf %s 600 > /sys/kernel/config/nvlab/nvlab-zoned-wide/medium/fw_write_unit
printf %s 13440 > /sys/kernel/config/nvlab/nvlab-zoned-wide/medium/buffer
printf %s 1 > /sys/kernel/config/nvlab/nvlab-zoned-wide/medium/plp
printf %s 32768 > /sys/kernel/config/nvlab/nvlab-zoned-wide/medium/zone_size
printf %s 24576 > /sys/kernel/config/nvlab/nvlab-zoned-wide/medium/zone_capacity
printf %s 32 > /sys/kernel/config/nvlab/nvlab-zoned-wide/medium/zone_dies
printf %s 960 > /sys/kernel/config/nvlab/nvlab-zoned-wide/medium/zone_buffer
printf %s 14 > /sys/kernel/config/nvlab/nvlab-zoned-wide/medium/zone_max_active
printf %s 14 > /sys/kernel/config/nvlab/nvlab-zoned-wide/medium/zone_max_open
printf %s 1 > /sys/kernel/config/nvlab/nvlab-zoned-wide/power

