#!/bin/bash
# keys: Keys and values on a roomy and on a nearly full drive
#
# What `nvlab up` would do, without its care: this script keeps no journal, and nothing undoes it. Run it as root, in a guest
# that you can throw away. It stops at the first command that fails.
# It wants nvlab.ko in the current directory (nvlab kmod build --into .) and 132096K$0x140000000 and 66560K$0x148200000
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

# device.roomy
mkdir /sys/kernel/config/nvlab/nvlab-keys-roomy
printf %s 0x140000000 > /sys/kernel/config/nvlab/nvlab-keys-roomy/memmap_start
printf %s 135266304 > /sys/kernel/config/nvlab/nvlab-keys-roomy/memmap_size
printf %s 512 > /sys/kernel/config/nvlab/nvlab-keys-roomy/block_size
printf %s 1 > /sys/kernel/config/nvlab/nvlab-keys-roomy/vwc
printf %s 51764821a9bc5414b3bc > /sys/kernel/config/nvlab/nvlab-keys-roomy/serial
printf %s nqn.2026-11.io.nvlab:device:keys:roomy > /sys/kernel/config/nvlab/nvlab-keys-roomy/subnqn
printf %s kv > /sys/kernel/config/nvlab/nvlab-keys-roomy/kind
printf %s 2 > /sys/kernel/config/nvlab/nvlab-keys-roomy/medium/dies
printf %s 1 > /sys/kernel/config/nvlab/nvlab-keys-roomy/medium/planes
printf %s 8192 > /sys/kernel/config/nvlab/nvlab-keys-roomy/medium/blocks
printf %s 32768 > /sys/kernel/config/nvlab/nvlab-keys-roomy/medium/page_size
printf %s 2 > /sys/kernel/config/nvlab/nvlab-keys-roomy/medium/cell_bits
printf %s 1 > /sys/kernel/config/nvlab/nvlab-keys-roomy/medium/program_pages
printf %s 30013 > /sys/kernel/config/nvlab/nvlab-keys-roomy/medium/read_lsb
printf %s 42013 > /sys/kernel/config/nvlab/nvlab-keys-roomy/medium/read_msb
printf %s 185000 > /sys/kernel/config/nvlab/nvlab-keys-roomy/medium/program_lsb
printf %s 185000 > /sys/kernel/config/nvlab/nvlab-keys-roomy/medium/program_msb
printf %s 839 > /sys/kernel/config/nvlab/nvlab-keys-roomy/medium/channel_speed
printf %s 3523 > /sys/kernel/config/nvlab/nvlab-keys-roomy/medium/link_speed
printf %s 21500 > /sys/kernel/config/nvlab/nvlab-keys-roomy/medium/fw_read
printf %s 30490 > /sys/kernel/config/nvlab/nvlab-keys-roomy/medium/fw_read_large
printf %s 4000 > /sys/kernel/config/nvlab/nvlab-keys-roomy/medium/fw_write
printf %s 460 > /sys/kernel/config/nvlab/nvlab-keys-roomy/medium/fw_write_unit
printf %s 4 > /sys/kernel/config/nvlab/nvlab-keys-roomy/medium/gc_low
printf %s 1 > /sys/kernel/config/nvlab/nvlab-keys-roomy/power

# device.full
mkdir /sys/kernel/config/nvlab/nvlab-keys-full
printf %s 0x148200000 > /sys/kernel/config/nvlab/nvlab-keys-full/memmap_start
printf %s 68157440 > /sys/kernel/config/nvlab/nvlab-keys-full/memmap_size
printf %s 512 > /sys/kernel/config/nvlab/nvlab-keys-full/block_size
printf %s 1 > /sys/kernel/config/nvlab/nvlab-keys-full/vwc
printf %s 94191357e2315601ac10 > /sys/kernel/config/nvlab/nvlab-keys-full/serial
printf %s nqn.2026-11.io.nvlab:device:keys:full > /sys/kernel/config/nvlab/nvlab-keys-full/subnqn
printf %s kv > /sys/kernel/config/nvlab/nvlab-keys-full/kind
printf %s 2 > /sys/kernel/config/nvlab/nvlab-keys-full/medium/dies
printf %s 1 > /sys/kernel/config/nvlab/nvlab-keys-full/medium/planes
printf %s 8192 > /sys/kernel/config/nvlab/nvlab-keys-full/medium/blocks
printf %s 32768 > /sys/kernel/config/nvlab/nvlab-keys-full/medium/page_size
printf %s 2 > /sys/kernel/config/nvlab/nvlab-keys-full/medium/cell_bits
printf %s 1 > /sys/kernel/config/nvlab/nvlab-keys-full/medium/program_pages
printf %s 30013 > /sys/kernel/config/nvlab/nvlab-keys-full/medium/read_lsb
printf %s 42013 > /sys/kernel/config/nvlab/nvlab-keys-full/medium/read_msb
printf %s 185000 > /sys/kernel/config/nvlab/nvlab-keys-full/medium/program_lsb
printf %s 185000 > /sys/kernel/config/nvlab/nvlab-keys-full/medium/program_msb
printf %s 839 > /sys/kernel/config/nvlab/nvlab-keys-full/medium/channel_speed
printf %s 3523 > /sys/kernel/config/nvlab/nvlab-keys-full/medium/link_speed
printf %s 21500 > /sys/kernel/config/nvlab/nvlab-keys-full/medium/fw_read
printf %s 30490 > /sys/kernel/config/nvlab/nvlab-keys-full/medium/fw_read_large
printf %s 4000 > /sys/kernel/config/nvlab/nvlab-keys-full/medium/fw_write
printf %s 460 > /sys/kernel/config/nvlab/nvlab-keys-full/medium/fw_write_unit
printf %s 4 > /sys/kernel/config/nvlab/nvlab-keys-full/medium/gc_low
printf %s 1 > /sys/kernel/config/nvlab/nvlab-keys-full/power

