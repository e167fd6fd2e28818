# SPDX-License-Identifier: GPL-2.0-or-later
"""What 24 devices cost that nobody uses: the share of one CPU that all of nvlab.ko's threads take; prints one JSON object.

Runs as root with nothing but the standard library.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

from device_speed import disk, idle_share, prepare, run

CONFIGFS = Path("/sys/kernel/config/nvlab")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("module", type=Path)
    parser.add_argument("--pool", default="513M$5G")
    parser.add_argument("--devices", type=int, default=24)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=20.0)
    args = parser.parse_args()
    prepare()
    run("insmod", str(args.module))
    (CONFIGFS / "pool").write_text(args.pool)
    made = [CONFIGFS / f"i{n}" for n in range(args.devices)]
    try:
        for device in made:
            device.mkdir()
            (device / "memmap_size").write_text("21M")
            (device / "power").write_text("1")
        for device in made:
            disk(device)
        run("udevadm", "settle")
        shares = [idle_share(args.seconds) for _ in range(args.rounds)]
    finally:
        for device in made:
            device.rmdir()
        run("rmmod", "nvlab")
    print(json.dumps({"devices": args.devices, "workers": args.devices * (os.cpu_count() or 1), "share of one CPU": shares}))


if __name__ == "__main__":
    main()
