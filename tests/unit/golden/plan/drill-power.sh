#!/bin/bash
# drill-power: The power of an SSD is cut: what becomes of the writes that it had acknowledged
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

# device.client
mkdir /sys/kernel/config/nvlab/nvlab-drill-power-client
printf %s 0x140000000 > /sys/kernel/config/nvlab/nvlab-drill-power-client/memmap_start
printf %s 135266304 > /sys/kernel/config/nvlab/nvlab-drill-power-client/memmap_size
printf %s 512 > /sys/kernel/config/nvlab/nvlab-drill-power-client/block_size
printf %s 1 > /sys/kernel/config/nvlab/nvlab-drill-power-client/vwc
printf %s 54446f52901357d79285 > /sys/kernel/config/nvlab/nvlab-drill-power-client/serial
printf %s nqn.2026-11.io.nvlab:device:drill-power:client > /sys/kernel/config/nvlab/nvlab-drill-power-client/subnqn
printf %s ssd > /sys/kernel/config/nvlab/nvlab-drill-power-client/kind
printf %s 2 > /sys/kernel/config/nvlab/nvlab-drill-power-client/medium/dies
printf %s 1 > /sys/kernel/config/nvlab/nvlab-drill-power-client/medium/planes
printf %s 8192 > /sys/kernel/config/nvlab/nvlab-drill-power-client/medium/blocks
printf %s 32768 > /sys/kernel/config/nvlab/nvlab-drill-power-client/medium/page_size
printf %s 2 > /sys/kernel/config/nvlab/nvlab-drill-power-client/medium/cell_bits
printf %s 1 > /sys/kernel/config/nvlab/nvlab-drill-power-client/medium/program_pages
printf %s 30013 > /sys/kernel/config/nvlab/nvlab-drill-power-client/medium/read_lsb
printf %s 42013 > /sys/kernel/config/nvlab/nvlab-drill-power-client/medium/read_msb
printf %s 20000000 > /sys/kernel/config/nvlab/nvlab-drill-power-client/medium/program_lsb
printf %s 20000000 > /sys/kernel/config/nvlab/nvlab-drill-power-client/medium/program_msb
printf %s 839 > /sys/kernel/config/nvlab/nvlab-drill-power-client/medium/channel_speed
printf %s 3523 > /sys/kernel/config/nvlab/nvlab-drill-power-client/medium/link_speed
printf %s 21500 > /sys/kernel/config/nvlab/nvlab-drill-power-client/medium/fw_read
printf %s 30490 > /sys/kernel/config/nvlab/nvlab-drill-power-client/medium/fw_read_large
printf %s 4000 > /sys/kernel/config/nvlab/nvlab-drill-power-client/medium/fw_write
printf %s 460 > /sys/kernel/config/nvlab/nvlab-drill-power-client/medium/fw_write_unit
printf %s 4 > /sys/kernel/config/nvlab/nvlab-drill-power-client/medium/gc_low
printf %s 1 > /sys/kernel/config/nvlab/nvlab-drill-power-client/power

# device.server
mkdir /sys/kernel/config/nvlab/nvlab-drill-power-server
printf %s 0x148200000 > /sys/kernel/config/nvlab/nvlab-drill-power-server/memmap_start
printf %s 135266304 > /sys/kernel/config/nvlab/nvlab-drill-power-server/memmap_size
printf %s 512 > /sys/kernel/config/nvlab/nvlab-drill-power-server/block_size
printf %s 1 > /sys/kernel/config/nvlab/nvlab-drill-power-server/vwc
printf %s 70038edff40f5319a9e1 > /sys/kernel/config/nvlab/nvlab-drill-power-server/serial
printf %s nqn.2026-11.io.nvlab:device:drill-power:server > /sys/kernel/config/nvlab/nvlab-drill-power-server/subnqn
printf %s ssd > /sys/kernel/config/nvlab/nvlab-drill-power-server/kind
printf %s 2 > /sys/kernel/config/nvlab/nvlab-drill-power-server/medium/dies
printf %s 1 > /sys/kernel/config/nvlab/nvlab-drill-power-server/medium/planes
printf %s 8192 > /sys/kernel/config/nvlab/nvlab-drill-power-server/medium/blocks
printf %s 32768 > /sys/kernel/config/nvlab/nvlab-drill-power-server/medium/page_size
printf %s 2 > /sys/kernel/config/nvlab/nvlab-drill-power-server/medium/cell_bits
printf %s 1 > /sys/kernel/config/nvlab/nvlab-drill-power-server/medium/program_pages
printf %s 30013 > /sys/kernel/config/nvlab/nvlab-drill-power-server/medium/read_lsb
printf %s 42013 > /sys/kernel/config/nvlab/nvlab-drill-power-server/medium/read_msb
printf %s 20000000 > /sys/kernel/config/nvlab/nvlab-drill-power-server/medium/program_lsb
printf %s 20000000 > /sys/kernel/config/nvlab/nvlab-drill-power-server/medium/program_msb
printf %s 839 > /sys/kernel/config/nvlab/nvlab-drill-power-server/medium/channel_speed
printf %s 3523 > /sys/kernel/config/nvlab/nvlab-drill-power-server/medium/link_speed
printf %s 21500 > /sys/kernel/config/nvlab/nvlab-drill-power-server/medium/fw_read
printf %s 30490 > /sys/kernel/config/nvlab/nvlab-drill-power-server/medium/fw_read_large
printf %s 4000 > /sys/kernel/config/nvlab/nvlab-drill-power-server/medium/fw_write
printf %s 460 > /sys/kernel/config/nvlab/nvlab-drill-power-server/medium/fw_write_unit
printf %s 1 > /sys/kernel/config/nvlab/nvlab-drill-power-server/medium/plp
printf %s 4 > /sys/kernel/config/nvlab/nvlab-drill-power-server/medium/gc_low
printf %s 1 > /sys/kernel/config/nvlab/nvlab-drill-power-server/power

# device.client: cut client, at 50% of volatile
event_1() {
    printf %s 1 > /sys/kernel/config/nvlab/nvlab-drill-power-client/cut
}

# device.server: cut server, at 50% of protected
event_2() {
    printf %s 1 > /sys/kernel/config/nvlab/nvlab-drill-power-server/cut
}

