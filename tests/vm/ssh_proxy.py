# SPDX-License-Identifier: GPL-2.0-or-later
"""What ssh has for a network to a guest (ProxyCommand): the guest's port 22, through its agent. Argument: the guest."""

import sys

from nvlab.nodes.vm import Guest

JOIN = "exec 3<>/dev/tcp/127.0.0.1/22; cat <&3 & cat >&3; kill $!"

sys.exit(Guest(sys.argv[1]).shell(["bash", "-c", JOIN]))
