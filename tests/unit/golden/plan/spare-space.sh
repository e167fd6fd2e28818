#!/bin/bash
# spare-space: Two SSDs with little and with more spare space
#
# What `nvlab up` would do, without its care: this script keeps no journal, and nothing undoes it. Run it as root, in a guest
# that you can throw away. It stops at the first command that fails.
# It wants nvlab.ko in the current directory (nvlab kmod build --into .) and 132096K$0x140000000 and 132096K$0x148200000
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

# device.tight
mkdir /sys/kernel/config/nvlab/nvlab-spare-space-tight
printf %s 0x140000000 > /sys/kernel/config/nvlab/nvlab-spare-space-tight/memmap_start
printf %s 135266304 > /sys/kernel/config/nvlab/nvlab-spare-space-tight/memmap_size
printf %s 512 > /sys/kernel/config/nvlab/nvlab-spare-space-tight/block_size
printf %s 0 > /sys/kernel/config/nvlab/nvlab-spare-space-tight/vwc
printf %s e1844863acc254e3ada0 > /sys/kernel/config/nvlab/nvlab-spare-space-tight/serial
printf %s nqn.2026-11.io.nvlab:device:spare-space:tight > /sys/kernel/config/nvlab/nvlab-spare-space-tight/subnqn
printf %s ssd > /sys/kernel/config/nvlab/nvlab-spare-space-tight/kind
printf %s 4 > /sys/kernel/config/nvlab/nvlab-spare-space-tight/medium/channels
printf %s 1 > /sys/kernel/config/nvlab/nvlab-spare-space-tight/medium/dies
printf %s 2048 > /sys/kernel/config/nvlab/nvlab-spare-space-tight/medium/blocks
printf %s 58000 > /sys/kernel/config/nvlab/nvlab-spare-space-tight/medium/read_lsb
printf %s 58000 > /sys/kernel/config/nvlab/nvlab-spare-space-tight/medium/read_csb
printf %s 58000 > /sys/kernel/config/nvlab/nvlab-spare-space-tight/medium/read_msb
printf %s 1 > /sys/kernel/config/nvlab/nvlab-spare-space-tight/medium/suspend
printf %s 10000 > /sys/kernel/config/nvlab/nvlab-spare-space-tight/medium/suspend_time
printf %s 472 > /sys/kernel/config/nvlab/nvlab-spare-space-tight/medium/channel_speed
printf %s 3198 > /sys/kernel/config/nvlab/nvlab-spare-space-tight/medium/link_speed
printf %s 13000 > /sys/kernel/config/nvlab/nvlab-spare-space-tight/medium/fw_read_large
printf %s 5600 > /sys/kernel/config/nvlab/nvlab-spare-space-tight/medium/fw_write
printf %s 600 > /sys/kernel/config/nvlab/nvlab-spare-space-tight/medium/fw_write_unit
printf %s 30720 > /sys/kernel/config/nvlab/nvlab-spare-space-tight/medium/buffer
printf %s 1 > /sys/kernel/config/nvlab/nvlab-spare-space-tight/medium/plp
printf %s 16 > /sys/kernel/config/nvlab/nvlab-spare-space-tight/medium/gc_background
printf %s 1 > /sys/kernel/config/nvlab/nvlab-spare-space-tight/medium/hot_cold
printf %s 100 > /sys/kernel/config/nvlab/nvlab-spare-space-tight/medium/wear_gap
printf %s 1 > /sys/kernel/config/nvlab/nvlab-spare-space-tight/power

# device.roomy
mkdir /sys/kernel/config/nvlab/nvlab-spare-space-roomy
printf %s 0x148200000 > /sys/kernel/config/nvlab/nvlab-spare-space-roomy/memmap_start
printf %s 135266304 > /sys/kernel/config/nvlab/nvlab-spare-space-roomy/memmap_size
printf %s 512 > /sys/kernel/config/nvlab/nvlab-spare-space-roomy/block_size
printf %s 0 > /sys/kernel/config/nvlab/nvlab-spare-space-roomy/vwc
printf %s 5069c6369540523a84b7 > /sys/kernel/config/nvlab/nvlab-spare-space-roomy/serial
printf %s nqn.2026-11.io.nvlab:device:spare-space:roomy > /sys/kernel/config/nvlab/nvlab-spare-space-roomy/subnqn
printf %s ssd > /sys/kernel/config/nvlab/nvlab-spare-space-roomy/kind
printf %s 4 > /sys/kernel/config/nvlab/nvlab-spare-space-roomy/medium/channels
printf %s 1 > /sys/kernel/config/nvlab/nvlab-spare-space-roomy/medium/dies
printf %s 2048 > /sys/kernel/config/nvlab/nvlab-spare-space-roomy/medium/blocks
printf %s 58000 > /sys/kernel/config/nvlab/nvlab-spare-space-roomy/medium/read_lsb
printf %s 58000 > /sys/kernel/config/nvlab/nvlab-spare-space-roomy/medium/read_csb
printf %s 58000 > /sys/kernel/config/nvlab/nvlab-spare-space-roomy/medium/read_msb
printf %s 1 > /sys/kernel/config/nvlab/nvlab-spare-space-roomy/medium/suspend
printf %s 10000 > /sys/kernel/config/nvlab/nvlab-spare-space-roomy/medium/suspend_time
printf %s 472 > /sys/kernel/config/nvlab/nvlab-spare-space-roomy/medium/channel_speed
printf %s 3198 > /sys/kernel/config/nvlab/nvlab-spare-space-roomy/medium/link_speed
printf %s 13000 > /sys/kernel/config/nvlab/nvlab-spare-space-roomy/medium/fw_read_large
printf %s 5600 > /sys/kernel/config/nvlab/nvlab-spare-space-roomy/medium/fw_write
printf %s 600 > /sys/kernel/config/nvlab/nvlab-spare-space-roomy/medium/fw_write_unit
printf %s 30720 > /sys/kernel/config/nvlab/nvlab-spare-space-roomy/medium/buffer
printf %s 1 > /sys/kernel/config/nvlab/nvlab-spare-space-roomy/medium/plp
printf %s 280 > /sys/kernel/config/nvlab/nvlab-spare-space-roomy/medium/spare
printf %s 16 > /sys/kernel/config/nvlab/nvlab-spare-space-roomy/medium/gc_background
printf %s 1 > /sys/kernel/config/nvlab/nvlab-spare-space-roomy/medium/hot_cold
printf %s 100 > /sys/kernel/config/nvlab/nvlab-spare-space-roomy/medium/wear_gap
printf %s 1 > /sys/kernel/config/nvlab/nvlab-spare-space-roomy/power

